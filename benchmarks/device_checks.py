"""What must hold on any device: reference maps, batches, low precision, training with the callback, memory."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor, nn

from hedgeseg import attribute
from hedgeseg.callbacks import HedgeCallback
from hedgeseg.data import ShapesDataModule
from hedgeseg.models import Classifier

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Check:
    """A line of the table.

    Attributes:
        name: what was looked at.
        found: in words and numbers.
        passed: None where there was nothing to look at.
    """

    name: str
    found: str
    passed: bool | None = None


def golden_maps(shared: Path, arch: str, device: str) -> Check:
    """The authors' maps, by the variant that equals their implementation; TF32 off, as they were computed.

    In VGG-16 the order of summation decides a maximum: 3.6e-3 with AVX2 and on a GPU, next to nothing with AVX-512.
    """
    name = f"reference maps, {arch}"
    if not (shared / "data" / "golden" / f"{arch}.npz").is_file():
        return Check(name, "not here")
    if str(ROOT / "tests") not in sys.path:
        sys.path.append(str(ROOT / "tests"))
    from golden import golden_network, hedge_cases, relative_l2

    network, worst, count = golden_network(shared, arch).to(device), 0.0, 0
    with full_precision():
        for case in hedge_cases(shared, arch):
            target = torch.tensor([case.target], device=device)
            found = attribute(network, case.images.to(device), target, gamma=case.gamma, variant="official").maps
            worst, count = max(worst, relative_l2(found[0, 0].cpu(), case.map.reshape(found.shape[-2:]))), count + 1
    limit = 5e-3 if arch == "vgg16" else 1e-3
    return Check(name, f"{count} maps, distance at most {worst:.1e} of the map", worst < limit)


def batch_independence(network: nn.Module, images: Tensor) -> Check:
    """Maps of a batch, and of its images one by one."""
    targets = torch.arange(len(images), device=images.device)
    with full_precision():
        together = attribute(network, images, targets).maps
        alone = torch.cat([attribute(network, images[i : i + 1], targets[i : i + 1]).maps for i in range(len(images))])
    apart = distance(together, alone)
    return Check("batch independence", f"{len(images)} images, distance at most {apart:.1e} of the map", apart < 1e-3)


def low_precision(network: nn.Module, images: Tensor) -> list[Check]:
    """The cosine of maps in bfloat16 and under autocast with those in float32."""
    targets, device = torch.arange(len(images), device=images.device), images.device.type
    plain = attribute(network, images, targets).maps
    runs: dict[str, Callable[[], Tensor]] = {
        'precision="bf16"': lambda: attribute(network, images, targets, precision="bf16").maps,
    }
    for kind in (torch.bfloat16, torch.float16):
        runs[f"autocast, {str(kind).removeprefix('torch.')}"] = lambda kind=kind: _autocast(
            device, kind, lambda: attribute(network, images, targets).maps
        )
    checks = []
    for name, run in runs.items():
        maps = run()
        cosine = float(torch.cosine_similarity(maps.flatten(1).float(), plain.flatten(1), dim=1).min())
        checks.append(Check(name, f"cosine at least {cosine:.4f}, {maps.dtype}", cosine > 0.98))
    return checks


def _autocast(device: str, kind: torch.dtype, run: Callable[[], Tensor]) -> Tensor:
    with torch.autocast(device, kind):
        return run()


def callback_identity(device: str, scenes: int) -> Check:
    """Weights, optimiser and losses of a training that is watched, of one that is not, and of that again."""
    plain, again, watched = (trained(device, scenes, watch) for watch in (False, False, True))
    if plain != again:
        return Check("training with the callback", "training itself does not repeat to the bit here")
    same = plain == watched
    return Check("training with the callback", "the same to the bit" if same else "another result", same)


def trained(device: str, scenes: int, watch: bool) -> str:
    """sha256 of what two epochs of training leave."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        seed_everything(0, verbose=False)
        with TemporaryDirectory() as folder:
            trainer = Trainer(
                accelerator="cpu" if device == "cpu" else "gpu",
                devices=1,
                max_epochs=2,
                callbacks=[HedgeCallback(max_images=4, max_fraction=None)] if watch else [],
                logger=False,
                default_root_dir=folder,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            module = Classifier(6, "small_cnn", lr=0.005)
            trainer.fit(module, datamodule=ShapesDataModule(scenes, 8, 8, image_size=64, batch_size=8))
        digest = hashlib.sha256()
        for part in (module.state_dict(), *(optimizer.state_dict() for optimizer in trainer.optimizers)):
            _add(digest, part)
        return digest.hexdigest()
    finally:
        torch.use_deterministic_algorithms(before)


def memory(network: nn.Module, images: Tensor) -> Check:
    """Peak memory of a map per image beside that of a training step."""
    name = f"memory, batch of {len(images)}"
    if images.device.type == "cpu":
        return Check(name, "not told by a CPU")
    targets = torch.zeros(len(images), dtype=torch.int64, device=images.device)

    def step() -> None:
        network.train()
        network(images).sum().backward()
        network.zero_grad()
        network.eval()

    def peak(run: Callable[[], Any]) -> float:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20

    ours, theirs = peak(lambda: attribute(network, images, targets)), peak(step)
    return Check(name, f"{ours:.0f} MiB for maps, {theirs:.0f} MiB for a training step", ours < 3 * theirs)


def distance(a: Tensor, b: Tensor) -> float:
    """The largest distance of two batches' maps, relative to the map."""
    apart, size = (a - b).flatten(1).norm(dim=1), b.flatten(1).norm(dim=1)
    return float((apart / size).max())


@contextmanager
def full_precision() -> Iterator[None]:
    """Without TF32, which rounds to ten bits."""
    flags = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = flags


def _add(digest: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            digest.update(str(key).encode())
            _add(digest, value[key])
    elif isinstance(value, list | tuple):
        for item in value:
            _add(digest, item)
    else:
        digest.update(repr(value).encode())
