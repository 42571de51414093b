"""FullGrad: the gradients of the image and of every bias, which add up to the logit (Srinivas & Fleuret 2019).

r = attribute(model, images, targets, method="full_grad")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hedgeseg.attribution.methods.from_logits import one_hot, record_logits
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.nodes import Keeps, Op, Value
from hedgeseg.attribution.operations import BATCH_NORMS, LAYERS
from hedgeseg.attribution.projection import Projection
from hedgeseg.attribution.recording import Recording
from hedgeseg.attribution.rules.gradient import gradient, linear_gradient
from hedgeseg.attribution.rules.linear import bias_of
from hedgeseg.attribution.rules.rule import Relevance, Rule, RuleBook, composite
from hedgeseg.attribution.samples import Samples
from hedgeseg.attribution.sweep import sweep

# Called with the bias's share of the logit, spread over where it acts, (T, M, O) or (T, M, C, *space), and the value
# that it was added to.
OnBias = Callable[[Tensor, Value], None]


def explain(problem: Problem) -> Explanation:
    """``psi(x g) + sum over layers and channels of psi(b g_b)`` (Eq. 5), psi: absolute value, to [0, 1], resized.

    The biases are those of convolutions and, in evaluation mode, what batch norm adds; a fully connected layer's has no
    place in the image.

    Args:
        problem: What is to be explained.

    Returns:
        Maps >= 0, a sum of as many maps from 0 to 1 as the network has channels with a bias; it hardly depends on the
        target. Cost: one forward pass, and as much again as one backward pass per target.
    """
    recording = record_logits(problem, rule_book(lambda term, value: None))
    size, parts = problem.images.shape[2:], []
    projection = Projection(recording.tape, "full_grad")
    slices = list(problem.target_slices())
    for i, part in enumerate(slices):
        maps = problem.images.new_zeros(len(problem.targets.T[part]), len(problem.images), *size, dtype=problem.dtype)

        def add(term: Tensor, value: Value, maps: Tensor = maps) -> None:
            if term.ndim > 3:
                ranged = unit_range(copies_as_rows(term, value.known_samples))
                maps += projection.to_images(value, ranged.sum(2))

        add(gradient_terms(problem, recording, part, add, free=i == len(slices) - 1), recording.tape.images)
        parts.append(maps)
    empty = problem.images.new_empty(0, len(problem.images), *size, dtype=problem.dtype)
    return Explanation(torch.cat(parts) if parts else empty, recording.logits)


def gradient_terms(problem: Problem, recording: Recording, part: slice, on_bias: OnBias, free: bool = True) -> Tensor:
    """The terms of the decomposition, whose sum is the logit in a network of ReLUs.

    Args:
        problem: What is to be explained.
        recording: Its forward pass, made with `rule_book`.
        part: Which targets.
        on_bias: Called with the term of every bias, from the last to the first.
        free: Whether this is the last sweep of the recording.

    Returns:
        The image's term, ``x g``, (T, N, C, *space).
    """
    start = {recording.class_logits_value: one_hot(problem, recording)[part]}
    ends = sweep(recording.tape, start, rule_book(on_bias), free=free)
    return ends[recording.tape.images] * problem.images.to(problem.dtype)


def rule_book(on_bias: OnBias) -> RuleBook:
    """The gradient everywhere, with a report of every bias that it passes."""

    def weighted(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
        g = relevance[0]
        assert g is not None
        bias = bias_of(op, g.dtype)
        if bias is not None:
            on_bias(bias * g, op.output)
        return linear_gradient(op, relevance)

    def normalised(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
        g = relevance[0]
        assert g is not None
        on_bias(_offset(op, g) * g, op.output)
        return gradient(op, relevance)

    rules = composite({LAYERS: Rule(weighted), BATCH_NORMS: Rule(normalised, Keeps(inputs=True))})
    return RuleBook("full_grad", rules, fallback=Rule(gradient, Keeps(inputs=True)))


def _offset(op: Op, like: Tensor) -> Tensor:
    """What a batch norm with fixed statistics gives for an input of 0: ``b - w mean / sqrt(var + eps)``."""
    zero = like.new_zeros(1, like.shape[2], *(1,) * (like.ndim - 3))

    y: Tensor = op.run_on(dict.fromkeys(op.inputs, zero), like.dtype)[0]
    return y


def copies_as_rows(term: Tensor, samples: Samples) -> Tensor:
    """A term with its images in rows, (T, M, C, *space), where a norm had them among the channels of one row."""
    if samples.dim != 1 or term.shape[1] != 1 or samples.batch == 1:
        return term
    digits = term[:, 0].unflatten(1, (-1, samples.batch, samples.inner))
    return digits.transpose(1, 2).flatten(2, 3)


def unit_range(terms: Tensor) -> Tensor:
    """Absolute values of (T, N, C, *space), each channel scaled from its own least and largest to [0, 1]."""
    flat = terms.abs().flatten(3)
    flat = flat - flat.amin(-1, keepdim=True)
    return (flat / (flat.amax(-1, keepdim=True) + 1e-7)).view(terms.shape)


METHOD = Method(
    "full_grad",
    "FullGrad (Srinivas & Fleuret 2019): gradients of the image and of every bias, absolute and resized",
    explain,
    signed=False,
    cost="1 forward, then a forward and backward per target",
)
