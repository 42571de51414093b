"""Is a machine's GPU all right, and how fast is it? Checks first, then maps per second against batch size.

    uv run benchmarks/on_a_gpu.py
    uv run benchmarks/on_a_gpu.py --device cpu --small

Checks: the authors' reference maps (where DIR of `--shared` holds them), a batch against its images one by one,
bfloat16 and float16, training with the callback against training without it, memory; every method and every step of a
seed beside the CPU. Then `throughput.py`'s table: maps per second, and the share of what the device's convolutions
reach in the same process. A few minutes on a GPU; `--small` is a minute on a CPU, with one small network. Exit code 1
if a check fails.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torchvision
from device_checks import Check, batch_independence, callback_identity, golden_maps, low_precision, memory
from device_twins import methods, seeds
from throughput import PRECISIONS, roofline, row

from hedgeseg.quiet import quiet


def checks(device: str, shared: Path, small: bool) -> Iterator[Check]:
    """Every check, as its result is known."""
    for arch in ("alexnet",) if small else ("vgg16", "resnet50", "densenet121", "inception_v3"):
        yield golden_maps(shared, arch, device)
    torch.manual_seed(0)
    network = torchvision.models.get_model("resnet18" if small else "resnet50", weights=None).eval().to(device)
    count, side = (3, 64) if small else (16, 224)
    images = torch.randn(count, 3, side, side, device=device)
    yield batch_independence(network, images)
    yield from low_precision(network, images)
    yield callback_identity(device, 16 if small else 256)
    yield memory(network, images)
    yield from methods(device)
    yield from seeds(device, small)


def table(device: str, small: bool, rounds: int) -> Iterator[str]:
    """The lines of the throughput table."""
    best = {precision: roofline(device, dtype, rounds) for precision, dtype in PRECISIONS.items()}
    for precision, value in best.items():
        yield f"convolutions reach {value / 1e12:.2f} TFLOP/s in {precision}"
    yield "\n| network | precision | batch | maps/s | forwards/s | GFLOP a map | share of roofline |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    for arch in ("resnet18",) if small else ("vgg16", "resnet50", "mobilenet_v2"):
        model = torchvision.models.get_model(arch, weights=None).eval().to(device)
        for precision in PRECISIONS if device != "cpu" else ("fp32",):
            for batch in (1, 2) if small else (1, 4, 16, 64):
                images = torch.randn(batch, 3, 64 if small else 224, 64 if small else 224, device=device)
                cells = row(model, images, 1, precision, best[precision], rounds)
                yield f"| {arch} | {precision} | {' | '.join(cells)} |"


def main() -> int:
    """Check, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="holds data/golden and tools")
    parser.add_argument("--small", action="store_true", help="one small network and small images")
    parser.add_argument("--rounds", type=int, default=3, help="timings are medians of so many")
    a = parser.parse_args()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats its sums only with it
    start, failed = time.perf_counter(), 0
    name = torch.cuda.get_device_name() if a.device != "cpu" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{name}, torch {torch.__version__}\n\n| check | found | |\n|---|---|---|")
    for check in checks(a.device, a.shared, a.small):
        word = {None: "-", True: "good", False: "**FAILED**"}[check.passed]
        print(f"| {check.name} | {check.found} | {word} |", flush=True)
        failed += check.passed is False
    print()
    with torch.no_grad():
        for line in table(a.device, a.small, a.rounds):
            print(line, flush=True)
    print(f"\n{failed} checks failed; {time.perf_counter() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    with quiet():
        sys.exit(main())
