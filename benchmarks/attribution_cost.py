"""What a map costs, in plain forward passes of the same model on the same images, measured side by side.

    uv run benchmarks/attribution_cost.py --arch vgg16 resnet50 mobilenet_v2

The unit F is one `no_grad` forward pass (batch 2, 224 px, fp32, channels first). Every row is the median of interleaved
rounds. Captum's and zennit's methods are measured where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import nn
from tqdm import tqdm

from hedgeseg import attribute


def contenders(model: nn.Module, images: torch.Tensor) -> dict[str, tuple[Callable[[], Any], int]]:
    """Name to (function, maps per image)."""

    def forward() -> None:
        with torch.no_grad():
            model(images)

    def training_step() -> None:
        model.zero_grad()
        model(images).sum().backward()

    def ours(targets: int, **options: Any) -> Callable[[], Any]:
        classes = torch.arange(targets).expand(len(images), targets)
        return lambda: attribute(model, images, classes, **options)

    found: dict[str, tuple[Callable[[], Any], int]] = {
        "plain forward": (forward, 1),
        "forward + backward": (training_step, 1),
        "hedge, 1 target": (ours(1), 1),
        "hedge, 5 targets (each)": (ours(5), 5),
        'hedge, 1 target, precision="bf16"': (ours(1, precision="bf16"), 1),
        "grad_cam, 1 target": (ours(1, method="grad_cam"), 1),
    }
    found.update(_captum(model, images))
    found.update(_zennit(model, images))
    return found


def _captum(model: nn.Module, images: torch.Tensor) -> dict[str, tuple[Callable[[], Any], int]]:
    if importlib.util.find_spec("captum") is None:
        return {}
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(model)
    steps = {"n_steps": 50, "internal_batch_size": len(images)}
    return {"captum IntegratedGradients, 50 steps": (lambda: method.attribute(images, target=0, **steps), 1)}


def _zennit(model: nn.Module, images: torch.Tensor) -> dict[str, tuple[Callable[[], Any], int]]:
    if importlib.util.find_spec("zennit") is None:
        return {}
    from zennit.attribution import Gradient
    from zennit.composites import EpsilonPlus

    one_hot = torch.zeros(len(images), 1000)
    one_hot[:, 0] = 1

    def run() -> None:
        with Gradient(model=model, composite=EpsilonPlus()) as attributor:
            attributor(images, one_hot)

    return {"zennit EpsilonPlus": (run, 1)}


def measure(arch: str, rounds: int) -> list[str]:
    """Rows of the table for one architecture."""
    model = torchvision.models.get_model(arch, weights=None).eval()
    images = torch.randn(2, 3, 224, 224)
    functions = contenders(model, images)
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for function, _ in functions.values():
        function()  # warm-up
    for _ in tqdm(range(rounds), desc=arch):
        for name, (function, _) in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    unit = statistics.median(seconds["plain forward"])
    return [
        f"| {arch} | {name} | {statistics.median(seconds[name]) / unit / maps:.2f} |"
        for name, (_, maps) in functions.items()
    ]


def main() -> None:
    """Measure and print a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", nargs="+", default=["vgg16", "resnet50", "mobilenet_v2"])
    parser.add_argument("--rounds", type=int, default=5)
    a = parser.parse_args()
    torch.manual_seed(0)
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print("| network | what | F per map |\n|---|---|---|")
    for arch in a.arch:
        print("\n".join(measure(arch, a.rounds)), flush=True)


if __name__ == "__main__":
    main()
