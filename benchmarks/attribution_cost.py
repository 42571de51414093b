"""What a map costs in time and memory, against plain passes and peers, measured side by side.

    uv run benchmarks/attribution_cost.py --arch vgg16 resnet50 mobilenet_v2
    uv run benchmarks/attribution_cost.py --device cuda
    uv run benchmarks/attribution_cost.py --arch vit_b_16 --clock cpu --only hedge "autolrp CP-LRP"

The unit F is one `no_grad` forward pass of the same network on the same images (by default two, 224 px).
Times are medians of interleaved rounds in one process; with `--clock cpu` they are the processor time of all threads,
which is what to take with one thread on a machine that others use too. Memory is the peak of a call over what the
process held before it, each in a process of its own. Rows are printed as they are ready; peers' are there where these
are installed, and say so where they fail on a network.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import statistics
import threading
import time
from pathlib import Path

import torch
import torchvision
from contenders import Contender, contenders
from torch import Tensor, nn
from tqdm import tqdm

PAGE = 4096


def network(arch: str, device: str, batch: int) -> tuple[nn.Module, Tensor]:
    """Random weights and images: time and memory do not depend on them."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(arch, weights=None).eval().to(device)
    return model, torch.randn(batch, 3, 224, 224, device=device)


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def seconds(contender: Contender, device: str, clock: str = "wall") -> float:
    """One timed run."""
    if device != "cpu":
        torch.cuda.synchronize()
    start = CLOCKS[clock]()
    contender.run()
    if device != "cpu":
        torch.cuda.synchronize()
    return CLOCKS[clock]() - start


def times(
    found: dict[str, Contender], device: str, rounds: int, title: str, clock: str
) -> tuple[dict[str, float], dict[str, str]]:
    """Median seconds of interleaved rounds by name, and why a contender failed."""
    failed: dict[str, str] = {}
    for name, contender in found.items():  # also the warm-up
        try:
            contender.run()
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"
    taken: dict[str, list[float]] = {name: [] for name in found if name not in failed}
    for _ in tqdm(range(rounds), desc=title):
        for name, values in taken.items():
            values.append(seconds(found[name], device, clock))
    return {name: statistics.median(values) for name, values in taken.items()}, failed


def memory(arch: str, name: str, device: str, batch: int) -> float:
    """Peak MB of a call over what was held before it, in a new process."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return float(pool.apply(_peak, (arch, name, device, batch)))


def _peak(arch: str, name: str, device: str, batch: int) -> float:
    model, images = network(arch, device, batch)
    contender = contenders(model, images)[name]
    with torch.no_grad():
        model(images[:1, :, :96, :96])
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        contender.run()
        return (torch.cuda.max_memory_allocated() - held) / 1e6
    held = peak = _resident()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, _resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    contender.run()
    done.set()
    watcher.join()
    return (peak - held) / 1e6


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def measure(arch: str, a: argparse.Namespace) -> None:
    """Print the rows of one architecture."""
    device, with_memory = a.device, not a.no_memory
    model, images = network(arch, device, a.batch)
    found = contenders(model, images)
    if a.only:
        found = {name: contender for name, contender in found.items() if name in {"plain forward", *a.only}}
    medians, failed = times(found, device, a.rounds, arch, a.clock)
    unit = medians["plain forward"]
    for name, contender in found.items():
        if name in failed:
            print(f"| {arch} | {name} | fails: {failed[name]} | |", flush=True)
            continue
        megabytes = f"{memory(arch, name, device, a.batch):.0f}" if with_memory else ""
        print(f"| {arch} | {name} | {medians[name] / unit / contender.maps:.2f} | {megabytes} |", flush=True)
    print(f"<!-- {arch}: F = {unit:.3f} s -->")


def cpu_name() -> str:
    """The processor, as the system names it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    """Measure and print a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", nargs="+", default=["vgg16", "resnet50", "mobilenet_v2"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2, help="images of a call")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-memory", action="store_true", help="times only")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="what the times are read from")
    parser.add_argument("--only", nargs="+", default=[], help="names of the rows to measure")
    a = parser.parse_args()
    where = cpu_name() if a.device == "cpu" else torch.cuda.get_device_name()
    print(f"{where}, {torch.get_num_threads()} threads, torch {torch.__version__}, {a.clock} time\n")
    print("| network | what | F per map | peak MB |\n|---|---|--:|--:|")
    for arch in a.arch:
        measure(arch, a)


if __name__ == "__main__":
    main()
