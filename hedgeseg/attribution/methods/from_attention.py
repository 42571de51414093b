"""What the rollout methods share: the attention matrices of a forward pass, what the head reads, the way to a map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hedgeseg.attribution.attention import attention_side, mixes_images, operands
from hedgeseg.attribution.errors import UnsupportedOpError
from hedgeseg.attribution.feature_map import grid_of
from hedgeseg.attribution.last_maps import find_last_maps
from hedgeseg.attribution.methods.from_logits import one_hot, record_logits
from hedgeseg.attribution.methods.method import Problem
from hedgeseg.attribution.nodes import Keeps, Op, Value, leading_to
from hedgeseg.attribution.operations import MATRIX_PRODUCTS
from hedgeseg.attribution.projection import resize
from hedgeseg.attribution.rules.gradient import gradient
from hedgeseg.attribution.rules.linear import data
from hedgeseg.attribution.rules.rule import Relevance, Rule, RuleBook
from hedgeseg.attribution.rules.structural import single
from hedgeseg.attribution.samples import Samples
from hedgeseg.attribution.sweep import sweep
from hedgeseg.attribution.tokens import TokenGrid


@dataclass(eq=False)
class AttentionLayer:
    """One attention over all tokens.

    Attributes:
        matrix: (N, heads, L, S): how each of S tokens is read by each of L (all of them, the grid, or the class token).
        gradient: Of the targets' logits with respect to it, (T, N, heads, L, S).
        reads: Which of the L rows the logits depend on, bool (N, L).
    """

    matrix: Tensor
    gradient: Tensor
    reads: Tensor


@dataclass(frozen=True, eq=False)
class AttentionPass:
    """A forward pass, and the backward passes of some targets.

    Attributes:
        layers: In order of execution.
        grid: Where the positions are among the tokens.
        logits: (N, K).
        size: Of the images.
    """

    layers: list[AttentionLayer]
    grid: TokenGrid
    logits: Tensor
    size: torch.Size

    def rows(self) -> Tensor:
        """What the head reads of the last attention: (1, N, tokens), of sum 1."""
        last = self.layers[-1]
        rows = self._among_tokens(last.reads.to(last.matrix.dtype))
        return (rows / rows.sum(-1, keepdim=True).clamp(min=1))[None]

    def all_tokens(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """A matrix (..., L, S) with rows and columns for all tokens, and which rows it had, bool (tokens,)."""
        by_columns = self._among_tokens(matrix)
        full = self._among_tokens(by_columns.mT).mT
        had = self._among_tokens(matrix.new_ones(matrix.shape[-2])) > 0
        return full, had

    def maps(self, rows: Tensor) -> Tensor:
        """Rows (T, N, tokens) as maps (T, N, *size of the images)."""
        positions = rows.narrow(-1, self.grid.start, math.prod(self.grid.space))
        return resize(positions.unflatten(-1, self.grid.space), self.size)

    def _among_tokens(self, entries: Tensor) -> Tensor:
        """Entries along the last dimension, for the class token, the grid or all, in a dimension for all."""
        size = entries.shape[-1]
        start = self.grid.start if size == math.prod(self.grid.space) else 0
        return torch.nn.functional.pad(entries, (start, self.grid.count - start - size))


@dataclass
class _Watched:
    """A rule that differentiates, and remembers what arrived at each attention and left at its matrix."""

    arrived: dict[Op, Tensor] = field(default_factory=dict)
    left: dict[Op, Tensor] = field(default_factory=dict)

    def __call__(self, op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
        passed = gradient(op, relevance)
        if is_attention(op):
            self.arrived[op] = single(relevance)
            self.left[op] = next(r for value, r in passed if value is _matrix_of(op))
        return passed


def attention_pass(problem: Problem, method: str, part: slice) -> AttentionPass:
    """Run the network forwards, and backwards from some targets.

    Args:
        problem: What is to be explained.
        method: The method's name, for errors.
        part: Which targets.

    Raises:
        UnsupportedOpError: If the network has no attention, or any that is not over all tokens.
    """
    watched = _Watched()
    rule = Rule(watched, Keeps(inputs=True))
    book = RuleBook(method, dict.fromkeys(MATRIX_PRODUCTS, rule), fallback=Rule(gradient, Keeps(inputs=True)))
    recording = record_logits(problem, book)
    found = [op for op in leading_to(recording.class_logits_value) if is_attention(op)]
    if not found:
        raise UnsupportedOpError(
            f"method {method!r} multiplies attention matrices, and there is no attention in this network; use "
            "method='grad_cam'"
        )
    value = list(find_last_maps(recording).values())[-1]
    grid = grid_of(recording.tape, value)
    for op in found:
        _refuse_other_tokens(op, grid, method)
    assert grid is not None
    sweep(recording.tape, {recording.class_logits_value: one_hot(problem, recording)[part]}, book, free=False)
    layers = []
    for op in found:
        matrix = _matrix_of(op)
        if op not in watched.left:
            continue  # the logits do not depend on it
        samples, transposed = matrix.known_samples, attention_side(op) == 1
        weights = _by_image(data(matrix, problem.dtype)[None], samples, transposed)[0]
        slopes = _by_image(watched.left[op], samples, transposed)
        arrived = _by_image(watched.arrived[op], samples, transposed)
        layers.append(AttentionLayer(weights, slopes, (arrived != 0).any(-1).any(2).any(0)))
    return AttentionPass(layers, grid, recording.class_logits, problem.images.shape[2:])


def is_attention(op: Op) -> bool:
    """Whether an operation multiplies values by an attention matrix."""
    return mixes_images(op) and attention_side(op) is not None


def _matrix_of(op: Op) -> Value:
    side = attention_side(op)
    assert side is not None
    matrix: Value = operands(op)[side]
    return matrix


def _by_image(tensor: Tensor, samples: Samples, transposed: bool) -> Tensor:
    """(T, B, L, S) with images and heads in B as (T, N, heads, L, S)."""
    if samples.batch == 1:
        tensor = tensor[:, None] if tensor.ndim == 4 else tensor[:, None, None]
    else:
        tensor = tensor.unflatten(1, (-1, samples.batch, samples.inner)).transpose(1, 2).flatten(2, 3)
    return tensor.mT if transposed else tensor


def _refuse_other_tokens(op: Op, grid: TokenGrid | None, method: str) -> None:
    rows, columns = _matrix_of(op).shape[-2:]
    if attention_side(op) == 1:
        rows, columns = columns, rows
    known = set() if grid is None else {grid.count, math.prod(grid.space)}
    if columns not in known or rows not in {*known, 1}:
        raise UnsupportedOpError(
            f"method {method!r} multiplies attention matrices from layer to layer, which takes attention of all tokens "
            f"to all: the one in module {op.module!r} is {rows} x {columns} (within windows, over channels, or over a "
            "map of another size). Use method='hedge' or 'grad_cam'"
        )
