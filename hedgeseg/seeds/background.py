"""Where a class map stops being the class: rules that place the background threshold, none of which sees a true mask.

A rule looks at the normalised scores of one image, (K, H, W) in [0, 1], and answers with one or two levels that
broadcast to (K, H, W): a pixel is foreground where some class exceeds its level. With two levels, what only the lower
one calls foreground is unsure and becomes 255.

`calibrate` moves every level to 1/2, so that refinement and the final argmax need to know no threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from hedgeseg.seeds.auto_level import Auto
from hedgeseg.seeds.seed import IGNORE


class Background(Protocol):
    """A rule that places the background."""

    def levels(self, scores: Tensor) -> tuple[Tensor, ...]:
        """One or two levels, ascending, each broadcastable to the scores (K, H, W)."""
        ...


@dataclass(frozen=True)
class Constant:
    """The same score everywhere (IRN `cam_eval_thres`)."""

    level: float = 0.15

    def __post_init__(self) -> None:
        _check_unit("background level", self.level)

    def levels(self, scores: Tensor) -> tuple[Tensor, ...]:
        """One level (1, 1, 1)."""
        return (scores.new_full((1, 1, 1), self.level),)


@dataclass(frozen=True)
class Power:
    """Background score `(1 - max_c score)^alpha` (PSA, SEAM; alpha 4 keeps more foreground off, 24 less)."""

    alpha: float = 4.0

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise ValueError(f"alpha of the power background must be positive, got {self.alpha}")

    def levels(self, scores: Tensor) -> tuple[Tensor, ...]:
        """One level (1, H, W)."""
        return ((1 - scores.amax(0, keepdim=True)) ** self.alpha,)


@dataclass(frozen=True)
class Band:
    """Two constants: above `high` foreground, below `low` background, 255 between (IRN `cam_to_ir_label`)."""

    low: float = 0.05
    high: float = 0.30

    def __post_init__(self) -> None:
        _check_unit("low", self.low)
        _check_unit("high", self.high)
        if self.low > self.high:
            raise ValueError(f"the band's low level must not exceed its high one, got {self.low} > {self.high}")

    def levels(self, scores: Tensor) -> tuple[Tensor, ...]:
        """Two levels (1, 1, 1)."""
        return tuple(scores.new_full((1, 1, 1), level) for level in (self.low, self.high))


@dataclass(frozen=True)
class Otsu:
    """Per class, the level that splits the scores into two groups of least variance within (Otsu 1979, Eq. 12)."""

    bins: int = 256

    def levels(self, scores: Tensor) -> tuple[Tensor, ...]:
        """One level (K, 1, 1)."""
        levels = [otsu_level(scores[k], self.bins) for k in range(len(scores))]
        return (scores.new_tensor(levels).view(-1, 1, 1),)


@dataclass(frozen=True)
class Percentile:
    """Per class, the score that `percent` percent of the pixels do not exceed: fixes the area instead of the score."""

    percent: float = 75.0

    def __post_init__(self) -> None:
        if not 0 <= self.percent <= 100:
            raise ValueError(f"percent must lie in [0, 100], got {self.percent}")

    def levels(self, scores: Tensor) -> tuple[Tensor, ...]:
        """One level (K, 1, 1)."""
        flat = scores.flatten(1)
        # kthvalue, not quantile: quantile refuses maps of more than 2^24 pixels.
        rank = max(1, round(self.percent / 100 * flat.shape[1]))
        return (flat.kthvalue(rank, dim=1).values.view(-1, 1, 1),)


RULES: dict[str, Callable[..., Background]] = {
    "constant": Constant,
    "power": Power,
    "band": Band,
    "otsu": Otsu,
    "percentile": Percentile,
    "auto": Auto,
}


def as_background(rule: float | str | Mapping[str, Mapping[str, Any]] | Background) -> Background:
    """A rule from a number (constant level), a name, a name with settings (`{"band": {"low": 0.3}}`) or a rule object.

    Raises:
        ValueError: unknown name, several names, or a number outside [0, 1].
        TypeError: settings that the rule does not have.
    """
    if isinstance(rule, Mapping):
        if len(rule) != 1:
            raise ValueError(f"one background rule with its settings, as in {{'band': {{'low': 0.3}}}}, got {rule}")
        name, settings = next(iter(rule.items()))
        return _named(name)(**(settings or {}))
    if isinstance(rule, str):
        return _named(rule)()
    if isinstance(rule, int | float):
        return Constant(float(rule))
    return rule


def _named(name: str) -> Callable[..., Background]:
    if name not in RULES:
        raise ValueError(f"unknown background rule {name!r}; there are {', '.join(sorted(RULES))}, or pass a number")
    return RULES[name]


def otsu_level(scores: Tensor, bins: int = 256) -> float:
    """Threshold in [0, 1] of greatest between-class variance of a map with values in [0, 1] (Otsu 1979).

    A constant map has no split; its own value is returned, so that nothing exceeds it.
    """
    flat = scores.flatten()
    low, high = (float(v) for v in torch.aminmax(flat))
    if high <= low:
        return high
    counts = torch.histc(flat.double(), bins, low, high)
    step = (high - low) / bins
    centres = low + step * (torch.arange(bins, dtype=torch.float64, device=flat.device) + 0.5)
    weight = counts.cumsum(0)
    mass = (counts * centres).cumsum(0)
    left, right = weight[:-1], weight[-1] - weight[:-1]
    gap = mass[:-1] / left.clamp(min=1) - (mass[-1] - mass[:-1]) / right.clamp(min=1)
    best = int(torch.argmax(left * right * gap**2))
    return low + step * (best + 1)


def calibrate(scores: Tensor, level: Tensor) -> Tensor:
    """Probabilities over background and classes whose argmax is the cut at `level`.

    Each score is stretched, piecewise linearly and monotonically, so that `level` lands on 1/2; background gets one
    minus the largest; the column is divided by its sum. A score equal to its level is background.

    Args:
        scores: float (K, H, W) in [0, 1], K >= 1.
        level: broadcastable to scores, in [0, 1].

    Returns:
        float (1 + K, H, W), background first, summing to one over the first dimension.
    """
    level = level.clamp(1e-6, 1 - 1e-6)
    stretched = torch.where(scores <= level, 0.5 * scores / level, 0.5 + 0.5 * (scores - level) / (1 - level))
    background = 1 - stretched.amax(0, keepdim=True)
    joined = torch.cat([background, stretched])
    return joined / joined.sum(0, keepdim=True)


def cut(probabilities: list[Tensor], classes: Tensor) -> Tensor:
    """Mask from the probabilities at one level, or at the two levels of a band.

    With two, a pixel is the class that the *high* level chooses; background where both say background; else 255.

    Args:
        probabilities: one or two float (1 + K, H, W), of ascending level.
        classes: int64 (K,) class indices.

    Returns:
        uint8 (H, W) mask.
    """
    ids = torch.cat([classes.new_zeros(1), classes + 1]).to(device=probabilities[0].device, dtype=torch.uint8)
    winners = [ids[p.max(0).indices] for p in probabilities]  # ten times as fast as argmax(0)
    mask = winners[-1]
    if len(winners) == 2:
        unsure = (mask == 0) & (winners[0] != 0)
        mask = mask.masked_fill(unsure, IGNORE)
    return mask


def _check_unit(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], the range of the normalised scores, got {value}")
