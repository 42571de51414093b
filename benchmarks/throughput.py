"""Maps per second against batch size, and how near that is to what the device's convolutions can do at best.

    uv run benchmarks/throughput.py --arch vgg16 resnet50 --device cuda --batches 1 2 4 8 16 32 64
    uv run benchmarks/throughput.py --arch squeezenet1_0 --device cpu --batches 1 4 --size 128

Share of the roofline: the floating-point operations of a call, counted by torch, over the seconds it takes, divided by
the operations per second that the device reaches in one large 3x3 convolution of the same dtype (measured here).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from device_checks import full_precision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hedgeseg import attribute

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def seconds(run: Callable[[], Any], device: str, rounds: int) -> float:
    """Median of `rounds`, after one that does not count."""
    taken = []
    for _ in range(rounds + 1):
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def operations(run: Callable[[], Any]) -> int:
    """Floating-point operations of convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def roofline(device: str, dtype: torch.dtype, rounds: int) -> float:
    """Operations per second of 3x3 convolutions of 256 channels at 56 x 56."""
    batch = 32 if device != "cpu" else 2
    images = torch.randn(batch, 256, 56, 56, device=device, dtype=dtype)
    weight = torch.randn(256, 256, 3, 3, device=device, dtype=dtype)

    def run() -> Tensor:
        return torch.nn.functional.conv2d(images, weight, padding=1)

    with full_precision():  # attribution rounds nothing to TensorFloat-32
        return operations(run) / seconds(run, device, rounds)


def row(model: nn.Module, images: Tensor, targets: int, precision: str, best: float, rounds: int) -> list[str]:
    """Cells of one batch size."""
    device = images.device.type
    classes = torch.arange(targets, device=images.device).expand(len(images), targets)

    def maps() -> None:
        attribute(model, images, classes, precision=precision)

    took, forward = seconds(maps, device, rounds), seconds(lambda: model(images), device, rounds)
    count, made = operations(maps), classes.numel()
    return [
        f"{len(images)}",
        f"{made / took:.2f}",
        f"{len(images) / forward:.1f}",
        f"{count / made / 1e9:.1f}",
        f"{count / took / best:.0%}",
    ]


@torch.no_grad()
def main() -> None:
    """Measure and print a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", nargs="+", default=["vgg16", "resnet50"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--targets", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    a = parser.parse_args()
    name = torch.cuda.get_device_name() if a.device != "cpu" else f"CPU, {torch.get_num_threads()} threads"
    best = {p: roofline(a.device, dtype, a.rounds) for p, dtype in PRECISIONS.items()}
    reached = ", ".join(f"{value / 1e9:.0f} GFLOP/s in {precision}" for precision, value in best.items())
    print(f"{name}, torch {torch.__version__}; convolutions reach {reached}\n")
    print("| network | precision | batch | maps/s | forwards/s | GFLOP a map | share of roofline |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for arch in a.arch:
        torch.manual_seed(0)
        model = torchvision.models.get_model(arch, weights=None).eval().to(a.device)
        for precision in PRECISIONS:
            for batch in a.batches:
                images = torch.randn(batch, 3, a.size, a.size, device=a.device)
                cells = row(model, images, a.targets, precision, best[precision], a.rounds)
                print(f"| {arch} | {precision} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
