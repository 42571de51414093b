"""Maps of a layer brought to the grid of the images: resized, and carried back through flips, crops and patches.

A map of the last layer has one value for each of its positions. In a plain network these lie over the image as they
are, so the map is resized. A network may also look at copies of an image, flipped, cropped or cut into patches, before
or between its layers; what a copy's position holds then returns to the pixels it was made from. The weights do not move
positions, so the map of the last layer is laid over the tensor that the first weights read (the *entrance*), which has
as many copies; from there the recorded moves are undone one by one, with the values of a pixel's copies added up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from hedgeseg.attribution.feature_map import channels_first, spread_over_channels
from hedgeseg.attribution.nodes import Op, Value
from hedgeseg.attribution.operations import (
    ACTIVATIONS,
    AVERAGES,
    CONVOLUTIONS,
    COPIES,
    MAXIMA,
    MOVES,
    NORMALISATIONS,
    POINTWISE,
    PRODUCTS,
    QUOTIENTS,
    SUMS,
    WEIGHTED,
)
from hedgeseg.attribution.rules.linear import linear_map
from hedgeseg.attribution.rules.rule import Relevance, Rule, RuleBook, composite
from hedgeseg.attribution.rules.structural import concatenate, single, structural_rules, sum_rule
from hedgeseg.attribution.sweep import sweep
from hedgeseg.attribution.tape import Tape

aten = torch.ops.aten

_PADS = frozenset(p for p in MOVES if "pad" in str(p))
_RESIZES = frozenset(p for p in MOVES if "upsample" in str(p))
_MIRRORS = frozenset({aten.flip, aten.rot90})
# They leave every position where it is, as a part of its side: what they change is undone by resizing.
_STILL = (
    ACTIVATIONS | NORMALISATIONS | POINTWISE | COPIES | SUMS | PRODUCTS | QUOTIENTS | _PADS | _RESIZES
    | MAXIMA | {aten.avg_pool1d, aten.avg_pool2d, aten.avg_pool3d, aten._adaptive_avg_pool2d}
)  # fmt: skip


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Linear interpolation of maps (T, N, *space) to a size, half-pixel centres."""
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    return torch.nn.functional.interpolate(maps, size=tuple(size), mode=mode, align_corners=False)


class Projection:
    """The way from the layers of a recording to the images.

    Args:
        tape: The recording.
        method: Whose maps are projected, for messages.
    """

    def __init__(self, tape: Tape, method: str) -> None:
        self.tape, self._book = tape, _rule_book(method)
        self._entrances: dict[Value, frozenset[Value]] = {tape.images: frozenset({tape.images})}
        self._still, self._mirrored = {tape.images}, set[Value]()
        for op in tape.ops:
            self._note(op)

    def to_images(self, layer: Value, maps: Tensor) -> Tensor:
        """Bring maps of a layer to the images' grid.

        Args:
            layer: The layer.
            maps: (T, M, *space), with a row for every copy that the layer has of an image.

        Returns:
            (T, N, *space of the images). Values are those of the layer's positions, not divided among pixels; those of
            several copies add up.

        Raises:
            UnsupportedOpError: If copies were made or put together in a way that can't be followed.
        """
        if self._lies_over(layer):
            return self._from_entrance(layer, maps)
        over = [v for v in self._entrances if self._lies_over(v) and v.order < layer.order]
        found = sweep(self.tape, {layer: spread_over_channels(self.tape, layer, maps)}, self._book, over, free=False)
        total = maps.new_zeros(len(maps), self.tape.images.shape[0], *self._size)
        for value, r in found.items():
            total = total + self._from_entrance(value, channels_first(self.tape, value, r).sum(2))
        return total

    @property
    def _size(self) -> torch.Size:
        return self.tape.images.shape[2:]

    def _note(self, op: Op) -> None:
        """Where the outputs come from, and whether positions kept their place on the way."""
        inputs = op.inputs
        still = op.packet in _STILL and all(v in self._still for v in inputs)
        mirrored = any(v in self._mirrored for v in inputs)
        for value in op.outputs:
            if value is None:
                continue
            if value.pixels:
                self._entrances[value] = frozenset({value})
                if still:
                    self._still.add(value)
                continue
            empty: frozenset[Value] = frozenset()
            self._entrances[value] = empty.union(*(self._entrances.get(v, empty) for v in inputs))
            if mirrored or op.packet in _MIRRORS:
                self._mirrored.add(value)

    def _lies_over(self, value: Value) -> bool:
        """Whether the positions of a value lie over those of what the first weights read."""
        if value in self._mirrored or len(value.shape) < 3 or value.samples is None:
            return False
        entrances = self._entrances[value]
        if all(e in self._still for e in entrances):
            return _copies(value)[0] == 1
        entrance, *others = entrances
        return not others and _copies(entrance) == _copies(value)

    def _from_entrance(self, value: Value, maps: Tensor) -> Tensor:
        """From a value that lies over what the first weights read to the images."""
        entrance, *_ = self._entrances[value]
        if entrance in self._still or len(entrance.shape) != len(self.tape.images.shape):
            return resize(maps, self._size)
        maps = resize(maps, entrance.shape[2:])
        spread = maps[:, :, None].expand(len(maps), *entrance.shape) / entrance.shape[1]
        found = sweep(self.tape, {entrance: spread}, self._book, free=False)
        return found[self.tape.images].sum(2)


def _copies(value: Value) -> tuple[int, int]:
    """How many copies of an image a value has, and how many of them lie side by side."""
    samples = value.known_samples
    return samples.copies(value.shape), samples.inner if samples.batch > 1 else 1


def _rule_book(method: str) -> RuleBook:
    """Moves are undone; what has weights or pools leaves positions where they are, on the grid of its input."""
    classes = {
        CONVOLUTIONS | MAXIMA | AVERAGES | _RESIZES: Rule(_regrid),
        WEIGHTED - CONVOLUTIONS: Rule(_over_features),
        frozenset({aten.mean, aten.sum}): Rule(_evenly),
        SUMS: Rule(sum_rule(_halves)),
        frozenset({aten.cat}): Rule(_parts),
    }
    return RuleBook(
        method,
        composite(classes, over=structural_rules()),
        advice="It lies between the layer and the copies of the image that this model looks at, through which a coarse "
        "map can't be carried back. Choose a layer= before it, or a method that propagates to the pixels (hedge).",
    )


def _regrid(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    value = op.inputs[0]
    maps = resize(single(relevance).sum(2), value.shape[2:])
    return [(value, maps[:, :, None].expand(len(maps), *value.shape) / value.shape[1])]


def _over_features(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    r = single(relevance)
    value, _ = linear_map(op, r.dtype)
    return [(value, r.sum(-1, keepdim=True).expand(len(r), *value.shape) / value.shape[-1])]


def _evenly(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    r, value = single(relevance), op.inputs[0]
    rank, given = len(value.shape), op.argument(1, "dim")
    dims = sorted({d % rank for d in ([given] if isinstance(given, int) else given or range(rank))})
    if not op.argument(2, "keepdim", False):
        for dim in dims:
            r = r.unsqueeze(dim + 1)
    return [(value, r.expand(len(r), *value.shape) / math.prod(value.shape[d] for d in dims))]


def _halves(op: Op, r: Tensor) -> Relevance:
    return [(value, r / 2) for value in op.inputs]


def _parts(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """Every part takes its own back; channels share alike, and constants among them get nothing."""
    r, parts = single(relevance), op.args[0]
    if int(op.argument(1, "dim", 0)) % len(op.output.shape) != 1:
        return concatenate(op, relevance)
    values = [p for p in parts if isinstance(p, Value)]
    share = r.sum(2, keepdim=True) / sum(v.shape[1] for v in values)
    return [(v, share.expand(len(r), *v.shape)) for v in values]
