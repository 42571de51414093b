"""What a device makes, beside what the CPU makes of the same: maps of every method, seeds of every step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
import torchvision
from device_checks import Check, distance, full_precision
from torch import Tensor, nn

from hedgeseg import METHODS, attribute
from hedgeseg.data import ShapesDataModule
from hedgeseg.seeds import Seed, SeedGenerator
from hedgeseg.seeds.learned_affinity import learn_affinity
from hedgeseg.seeds.multiscale import resize
from hedgeseg.seeds.refit import learn_refit
from hedgeseg.seeds.spread import reduced, stride_maps

SEEDS: dict[str, dict[str, object]] = {
    "plain": {},
    "mirrored, two scales": {"flip": True, "scales": (0.5, 1.0)},
    "spread, PAMR": {"spread": True, "refine": "pamr"},
    "coarse stages in the extent of FullGrad": {
        "method": ["hedge", "full_grad"], "fuse": "extent", "hedge": {"gamma": 2.0, "stages": "coarse"}, "spread": True,
    },
    "CRF": {"refine": "crf"},
    "guided filter": {"refine": "guided"},
    "random walker": {"refine": "random_walker"},
    "superpixels": {"refine": "superpixels"},
    "tiles": {"tile": 48},
}  # fmt: skip

CNN_ONLY = ("deep_lift",)
COUNTS = ("extremal_perturbation",)
"""Whose maps are counts: rounding moves a pixel by a whole one."""
FEWER: dict[str, dict[str, int]] = {
    "rise": {"masks": 50},
    "lime": {"n_samples": 50},
    "extremal_perturbation": {"iterations": 12},
}
"""Of methods that ask the network very often, what is enough to compare."""


def networks() -> Iterator[tuple[str, nn.Module, int]]:
    """Name, network and side of its images: a CNN, and a transformer."""
    torch.manual_seed(0)
    yield "ResNet-18", torchvision.models.resnet18(weights=None, num_classes=6).eval(), 64
    vit = torchvision.models.VisionTransformer(32, 8, 3, 2, 32, 64, num_classes=6).eval()
    nn.init.normal_(vit.heads.head.weight)  # torchvision starts with zeros
    yield "ViT", vit, 32


def methods(device: str) -> Iterator[Check]:
    """Maps of every method on the device, beside those on the CPU, in float32."""
    for name, network, side in networks():
        images, targets = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1)), [1, 4]
        there = copy.deepcopy(network).to(device)
        apart: dict[str, float] = {}
        for method in METHODS:
            if method in CNN_ONLY if name == "ViT" else "rollout" in method:
                continue
            run = partial(_maps, method=method, targets=targets, options=FEWER.get(method, {}))
            try:
                apart[method] = distance(run(there, images.to(device)).cpu(), run(network, images))
            except Exception as error:  # a method that fails is what is looked for; the others are to be seen as well
                apart[method] = float("inf")
                yield Check(f"{method}, {name}", f"{type(error).__name__}: {error}", False)
        worst = sorted(apart, key=lambda method: -apart[method])[:4]
        told = ", ".join(f"{method} {apart[method]:.1e}" for method in worst)
        good = all(distance < (5e-2 if method in COUNTS else 1e-2) for method, distance in apart.items())
        yield Check(f"{len(apart)} methods, {name}", f"furthest from the CPU's: {told}", good)


def _maps(network: nn.Module, images: Tensor, method: str, targets: list[int], options: dict[str, int]) -> Tensor:
    with full_precision():
        return attribute(network, images, targets, method, **options).maps


def seeds(device: str, small: bool) -> Iterator[Check]:
    """Masks of every refiner on the device, as far as pixels agree with those on the CPU; learnt affinity and refit."""
    _, network, side = next(networks())
    models = {"cpu": network, device: copy.deepcopy(network).to(device)}
    data = ShapesDataModule(1, 1, 2 if small else 6, image_size=side, batch_size=2)
    data.setup("predict")
    images = [image for batch in data.predict_dataloader() for image in batch["image"]]
    classes = [[i % 6, (i + 2) % 6] for i in range(len(images))]
    for name, options in SEEDS.items():
        generator = SeedGenerator(**options)  # type: ignore[arg-type]
        yield _beside(f"seeds: {name}", lambda where, generator=generator: [
            generator(models[where], image.to(where), found).mask.cpu()
            for image, found in zip(images, classes, strict=True)
        ], device)  # fmt: skip
    plain = SeedGenerator()
    known = [plain(network, image, found) for image, found in zip(images, classes, strict=True)]
    yield _beside("learnt affinity", partial(_walked, models, images, known), device)
    if small:  # hundreds of steps
        return
    refit = partial(_refitted, models, images, known, classes)
    yield _beside("refit", refit, device, other=lambda: refit("cpu", seed=1))  # its dropout is the device's


def _walked(models: dict[str, nn.Module], images: list[Tensor], known: list[Seed], where: str) -> list[Tensor]:
    model = models[where]
    names = [str(i) for i in range(len(images))]
    head = learn_affinity(model, names, lambda n: images[int(n)].to(where), lambda n: known[int(n)])
    walks = [head.walk(stride_maps(model, reduced(image.to(where))[None])) for image in images]
    scores = [resize(seed.scores.to(where), walk.size) for walk, seed in zip(walks, known, strict=True)]
    return [walk.spread(found).cpu() for walk, found in zip(walks, scores, strict=True)]


def _refitted(
    models: dict[str, nn.Module],
    images: list[Tensor],
    known: list[Seed],
    classes: Sequence[Sequence[int]],
    where: str,
    seed: int = 0,
) -> list[Tensor]:
    given = [(i.to(where), s.scores.to(where), list(c)) for i, s, c in zip(images, known, classes, strict=True)]
    refit = learn_refit(models[where], lambda: given, seed=seed)
    return [refit(image, found).cpu() for image, _, found in given]


def _beside(
    name: str, run: Callable[[str], list[Tensor]], device: str, other: Callable[[], list[Tensor]] | None = None
) -> Check:
    """Masks are to agree on 99 of 100 pixels; scores to .001 on average, or to what `other` differs from the CPU's."""
    try:
        with full_precision():
            here, found = run("cpu"), run(device)
            another = here if other is None else other()
    except Exception as error:  # as above
        return Check(name, f"{type(error).__name__}: {error}", False)
    if here[0].is_floating_point():
        apart, seeds = (
            float(torch.stack([(a - b).abs().mean() for a, b in zip(here, scores, strict=True)]).mean())
            for scores in (found, another)
        )
        told = f"scores differ by {apart:.1e} on average" + (f", with another seed by {seeds:.1e}" if other else "")
        return Check(name, told, apart < max(1e-3, 1.5 * seeds))
    same = min(float((a == b).float().mean()) for a, b in zip(here, found, strict=True))
    return Check(name, f"{same:.2%} of the pixels as on the CPU", same > 0.99)
