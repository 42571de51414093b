"""Refiners by name, and chains of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hedgeseg.seeds.refine.crf import dense_crf
from hedgeseg.seeds.refine.guided import guided_filter
from hedgeseg.seeds.refine.pamr import pamr
from hedgeseg.seeds.refine.random_walker import random_walker
from hedgeseg.seeds.refine.regions import Regions
from hedgeseg.seeds.refine.superpixels import superpixel_vote

Refiner = Callable[[Tensor, Tensor], Tensor]
"""(picture uint8 (H, W, 3), probabilities (L, H, W), background first) -> probabilities (L, H, W)."""

Step = str | Mapping[str, Mapping[str, Any] | str] | Refiner
Refine = Step | Sequence[Step] | None

REFINERS: dict[str, Callable[..., Tensor]] = {
    # Scores are no probabilities: what a seed knows is which label wins, so the CRF gets that and a certainty (IRN).
    "crf": partial(dense_crf, unary="labels"),
    "pamr": pamr,
    "guided": guided_filter,
    "random_walker": random_walker,
    "superpixels": superpixel_vote,
}


REGIONS = "regions"
"""Beside `REFINERS`: the regions of files, see `hedgeseg.seeds.refine.regions`."""


@dataclass(frozen=True)
class Chain:
    """Refiners that are applied in order."""

    steps: tuple[Refiner, ...]

    def __call__(self, picture: Tensor, probabilities: Tensor) -> Tensor:
        """See `Refiner`."""
        for step in self.steps:
            probabilities = step(picture, probabilities)
        return probabilities

    def of(self, name: str | None) -> Chain:
        """The chain of the image with this id: steps that read files of it are told."""
        return Chain(tuple(step.of(name) if isinstance(step, Regions) else step for step in self.steps))


def refiner_of(refiner: Refiner | None, name: str | None) -> Refiner | None:
    """A refiner for the image with this id; the same one if it does not ask whose image it is."""
    return refiner.of(name) if isinstance(refiner, Chain | Regions) else refiner


def as_refiner(refine: Refine) -> Refiner | None:
    """One function that applies the named steps in order; None for no steps.

    Args:
        refine: a name, a mapping of names to options such as `{"crf": {"preset": "psa"}}` or `{"regions": DIR}`, a
            function, or a sequence of these.

    Raises:
        ValueError: unknown name.
        TypeError: a step that is none of these.
    """
    if refine is None:
        return None
    chain = refine if isinstance(refine, Sequence) and not isinstance(refine, str) else [refine]
    steps = tuple(function for step in chain for function in _functions(step))
    return Chain(steps) if steps else None


def refined(refiner: Refiner, picture: Tensor, probabilities: Tensor, longest: int) -> Tensor:
    """Apply a refiner, on smaller copies if a side exceeds `longest`: its cost and memory then stop growing.

    Args:
        refiner: what to apply.
        picture: uint8 (H, W, 3).
        probabilities: float (L, H, W).
        longest: side in pixels.
    """
    height, width = probabilities.shape[1:]
    shrink = longest / max(height, width)
    if shrink >= 1:
        return refiner(picture, probabilities)
    size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    small_picture = F.interpolate(picture.permute(2, 0, 1)[None].float(), size=size, mode="area")[0]
    small = F.interpolate(probabilities[None], size=size, mode="area")[0]
    answer = refiner(small_picture.round().to(torch.uint8).permute(1, 2, 0).contiguous(), small)
    return F.interpolate(answer[None], size=(height, width), mode="bilinear", align_corners=False)[0]


def _functions(step: Step) -> list[Refiner]:
    if isinstance(step, str):
        return [_named(step)]
    if isinstance(step, Mapping):
        return [_with_options(name, options) for name, options in step.items()]
    if callable(step):
        return [step]
    raise TypeError(f"a refiner is a name, a mapping of names to options, or a function; got {step!r}")


def _with_options(name: str, options: Mapping[str, Any] | str | None) -> Refiner:
    if name == REGIONS:
        if not isinstance(options, str):
            raise TypeError(f"regions takes the folder they are in, as in {{'regions': 'DIR'}}, got {options!r}")
        return Regions(options)
    if isinstance(options, str):
        raise TypeError(f"refiner {name!r} takes options by name, got {options!r}")
    return partial(_named(name), **(options or {}))


def _named(name: str) -> Refiner:
    if name == REGIONS:
        raise ValueError("regions come from files: give their folder, as in refine: {regions: DIR}")
    if name not in REFINERS:
        raise ValueError(f"unknown refiner {name!r}; there are {', '.join(sorted([*REFINERS, REGIONS]))}")
    return REFINERS[name]
