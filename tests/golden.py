"""Reads the reference maps of ../shared/data/golden and builds the networks they were made with."""

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision


@dataclass(frozen=True)
class Case:
    """One reference map: how to make its input, and what it is."""

    images: torch.Tensor
    target: int
    gamma: float
    initial: np.ndarray
    map: np.ndarray


@functools.lru_cache(maxsize=4)
def golden_network(shared: Path, arch: str) -> torch.nn.Module:
    """A torchvision network with the numbers that are the same on every machine; kept, so copy what is changed."""
    spec = importlib.util.spec_from_file_location(
        "deterministic_weights", shared / "tools" / "deterministic_weights.py"
    )
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    options = {"init_weights": False} if arch in ("inception_v3", "googlenet") else {}
    with torch.device("meta"):  # numbers that would be drawn for nothing
        network = torchvision.models.get_model(arch, weights=None, num_classes=1000, **options)
    network.to_empty(device="cpu")
    for tensor in network.state_dict().values():
        tensor.zero_()
    return tool.fill_(network).eval()


def golden_input(seed: int, size: int) -> torch.Tensor:
    """The standard-normal input of a reference map."""
    noise = np.random.RandomState(seed).standard_normal((1, 3, size, size))
    return torch.from_numpy(noise.astype(np.float32))


def hedge_cases(shared: Path, arch: str) -> list[Case]:
    """The reference maps of hedging for one architecture."""
    size = 299 if arch == "inception_v3" else 224
    with np.load(shared / "data" / "golden" / f"{arch}.npz") as z:
        return [
            Case(golden_input(int(seed), size), int(target), float(gamma), initial, reference)
            for seed, target, gamma, initial, reference in zip(
                z["input_seed"], z["target"], z["gamma"], z["initial"], z["maps"], strict=True
            )
        ]


def relative_l2(a: torch.Tensor | np.ndarray, b: torch.Tensor | np.ndarray) -> float:
    """``|a - b| / |b|`` in float64."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
