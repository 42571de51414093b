"""Tokens as the map that they are: where the grid of positions lies in a sequence, found by a look back along the tape.

A transformer flattens a map (N, C, H, W) to tokens (N, H*W, C), puts class and register tokens before them and mixes
them. From a value of tokens `find_grid` follows the dimension of the tokens back through everything that keeps their
order, to the view that made it of two (or one, or three) dimensions: those are the sides of the grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hedgeseg.attribution.branches import find_fork
from hedgeseg.attribution.nodes import Op, Value
from hedgeseg.attribution.operations import (
    BATCHED_PRODUCTS,
    CONVOLUTIONS,
    LAYERS,
    SUMS,
    VIEWS,
)

aten = torch.ops.aten


@dataclass(frozen=True)
class TokenGrid:
    """Where a grid lies in a value of tokens.

    Attributes:
        images: Dimension of the images.
        tokens: Dimension of the tokens.
        channels: Dimension of the channels.
        count: Number of tokens, those of no position included.
        start: How many tokens of no position (class, registers) stand before the grid.
        space: Its sides, such as (14, 14).
    """

    images: int
    tokens: int
    channels: int
    count: int
    start: int
    space: tuple[int, ...]

    def to_map(self, tensor: Tensor) -> Tensor:
        """Numbers of the value's shape, with dimensions before it or without, as (..., N, C, *space)."""
        lead = tensor.ndim - 3
        order = (*range(lead), *(lead + d for d in (self.images, self.channels, self.tokens)))
        positions = tensor.permute(order).narrow(-1, self.start, math.prod(self.space))
        return positions.unflatten(-1, self.space)

    def placed(self, relevance: Tensor) -> Tensor:
        """A map (T, N, C, *space) as numbers of the value's shape, (T, *shape); 0 at tokens of no position."""
        flat = relevance.flatten(3)
        behind = self.count - self.start - flat.shape[-1]
        flat = torch.nn.functional.pad(flat, (self.start, behind))
        order = sorted(range(3), key=lambda d: (self.images, self.channels, self.tokens)[d])
        return flat.permute(0, *(d + 1 for d in order))


def find_grid(value: Value, dimensions: int, images: int = 0) -> TokenGrid | None:
    """The grid in a value of tokens.

    Args:
        value: Three dimensions: images, tokens and channels in any order.
        dimensions: Of the grid, as many as an image has.
        images: The dimension of the images.

    Returns:
        None where the value has another number of dimensions, or its order can't be followed to a map.
    """
    if len(value.shape) != 3:
        return None
    for tokens in (d for d in range(3) if d != images):
        found = _Trace(value, tokens).run(dimensions)
        if found is not None and 0 <= found[0] <= value.shape[tokens] - math.prod(found[1]):
            start, space = found
            return TokenGrid(images, tokens, 3 - images - tokens, value.shape[tokens], start, space)
    return None


class _Trace:
    """Follows one dimension backwards.

    `axis` of `value` holds ``outer * count * inner`` entries: the tokens, perhaps once for each image or head before
    them, and each with the images of a sequence-first batch behind it. Token i there is token ``start + i`` of the
    value where the trace began.
    """

    def __init__(self, value: Value, axis: int) -> None:
        self.value, self.axis, self.outer, self.inner = value, axis, 1, 1
        self.count, self.start = value.shape[axis], 0

    def run(self, dimensions: int) -> tuple[int, tuple[int, ...]] | None:
        """Where the grid starts, and its sides; None if the trace is lost."""
        while self.value.producer is not None:
            op = self.value.producer
            if op.packet in VIEWS:
                sides = self._through_view(op)
                if sides is not None:
                    return (self.start, sides) if len(sides) == dimensions else None
                if self.value is not op.inputs[0]:
                    return None
            elif not _STEPS.get(op.packet, _Trace._default)(self, op):
                return None
        return None

    def _to(self, value: Value, axis: int) -> bool:
        """Go on there, if it has as many tokens."""
        if not 0 <= axis < len(value.shape) or value.shape[axis] != self.outer * self.count * self.inner:
            return False
        self.value, self.axis = value, axis
        return True

    def _through_view(self, op: Op) -> tuple[int, ...] | None:
        """The sides, where the tokens' dimension is made of several; else a step to the view's input, if there is one.

        In the row-major index of an entry the tokens are a digit: of weight `low`, up to weight `high`.
        """
        origin = op.inputs[0]
        low = math.prod(self.value.shape[self.axis + 1 :]) * self.inner
        high = low * self.count
        sides, stride = [], 1
        for axis in reversed(range(len(origin.shape))):
            above = stride * origin.shape[axis]
            if low % stride == 0 and above % high == 0 and above >= high:
                self.value, self.axis, self.outer, self.inner = origin, axis, above // high, low // stride
                return None
            if stride >= low and above <= high and above > stride:
                sides.append(origin.shape[axis])
            stride = above
        if len(sides) > 1 and math.prod(sides) == self.count and self.outer >= 1:
            return tuple(reversed(sides))
        return None

    def _permute(self, op: Op) -> bool:
        order = [d % len(self.value.shape) for d in op.args[1]]
        return self._to(op.inputs[0], order[self.axis])

    def _transpose(self, op: Op) -> bool:
        rank = len(self.value.shape)
        first, second = (0, 1) if op.packet in (aten.t, aten.t_) else (op.args[1] % rank, op.args[2] % rank)
        swapped = {first: second, second: first}
        return self._to(op.inputs[0], swapped.get(self.axis, self.axis))

    def _remove(self, op: Op) -> bool:
        """``select`` and ``unbind``."""
        dim = int(op.argument(1, "dim", 0)) % len(op.inputs[0].shape)
        return self._to(op.inputs[0], self.axis + int(dim <= self.axis))

    def _slice(self, op: Op) -> bool:
        origin = op.inputs[0]
        dim, begin, step = op.argument(1, "dim", 0), op.argument(2, "start") or 0, op.argument(4, "step", 1)
        if dim % len(origin.shape) != self.axis:
            return self._to(origin, self.axis)
        return self._part(origin, begin % origin.shape[self.axis] if begin else 0, step)

    def _split(self, op: Op) -> bool:
        origin = op.inputs[0]
        if int(op.argument(2, "dim", 0)) % len(origin.shape) != self.axis:
            return self._to(origin, self.axis)
        before = op.outputs[: op.outputs.index(self.value)]
        return self._part(origin, sum(v.shape[self.axis] for v in before if v is not None), 1)

    def _part(self, origin: Value, begin: int, step: int) -> bool:
        """Some of an operand's tokens, which must hold its grid: the tokens before it are class tokens, cut away."""
        if step != 1 or self.outer != 1 or self.inner != 1:
            return False
        self.start -= begin
        self.value, self.count = origin, origin.shape[self.axis]
        return True

    def _cat(self, op: Op) -> bool:
        parts, rank = op.args[0], len(self.value.shape)
        if int(op.argument(1, "dim", 0)) % rank != self.axis:
            return self._to(next(p for p in parts if isinstance(p, Value)), self.axis)
        if self.outer != 1 or self.inner != 1:
            return False
        longest = max((p for p in parts if isinstance(p, Value)), key=lambda p: p.shape[self.axis])
        self.start += sum(p.shape[self.axis] for p in parts[: parts.index(longest)])
        self.value, self.count = longest, longest.shape[self.axis]
        return True

    def _sum(self, op: Op) -> bool:
        """At a residual sum straight to where its branches part, if the tokens are there as they are here."""
        same = [v for v in op.inputs if v.shape == self.value.shape]
        if len(same) == 2 and same[0] is not same[1]:
            fork = find_fork(same[0], same[1]).value
            if fork.shape == self.value.shape:
                return self._to(fork, self.axis)
        return self._default(op)

    def _product(self, op: Op) -> bool:
        """Of matrices: the rows are those of the left one, the columns those of the right one."""
        rank = len(self.value.shape)
        matrices = [v for v in op.inputs if len(v.shape) == rank]
        if op.packet in BATCHED_PRODUCTS and self.axis == rank - 1:
            return self._to(matrices[-1], self.axis)
        return self.axis < rank - 1 and self._to(matrices[0], self.axis)

    def _convolution(self, op: Op) -> bool:
        return self.axis > 1 and self._to(op.inputs[0], self.axis)

    def _default(self, op: Op) -> bool:
        """What keeps every entry in its place."""
        rank = len(self.value.shape)
        like = [v for v in op.inputs if len(v.shape) == rank]
        return any(self._to(v, self.axis) for v in sorted(like, key=lambda v: v.shape != self.value.shape))


_STEPS: dict[object, Callable[[_Trace, Op], bool]] = {
    aten.permute: _Trace._permute,
    aten.select: _Trace._remove,
    aten.unbind: _Trace._remove,
    aten.slice: _Trace._slice,
    aten.cat: _Trace._cat,
    **dict.fromkeys((aten.transpose, aten.transpose_, aten.t, aten.t_), _Trace._transpose),
    **dict.fromkeys((aten.split, aten.split_with_sizes, aten.chunk), _Trace._split),
    **dict.fromkeys((aten.roll, aten.flip, aten.index, aten.index_select, aten.gather), lambda trace, op: False),
    **dict.fromkeys(SUMS, _Trace._sum),
    **dict.fromkeys(LAYERS | BATCHED_PRODUCTS, _Trace._product),
    **dict.fromkeys(CONVOLUTIONS, _Trace._convolution),
}
