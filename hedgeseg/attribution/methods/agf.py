"""Attribution guided factorisation: class-specific relevance from input and gradient (Gur, Ali & Wolf, AAAI 2021).

r = attribute(model, images, targets, method="agf")
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hedgeseg.attribution.explaining import full_precision
from hedgeseg.attribution.head import run_head
from hedgeseg.attribution.methods.from_logits import classifiers, record_logits
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.nodes import Keeps, Op, Value
from hedgeseg.attribution.operations import (
    ACTIVATIONS,
    AVERAGES,
    MAXIMA,
    NORMALISATIONS,
    POINTWISE,
    PRODUCTS,
    QUOTIENTS,
    SUMS,
    VIEWS,
    WEIGHTED,
)
from hedgeseg.attribution.recording import Recording
from hedgeseg.attribution.rules.agf import guided_factorisation, plain, through_flattening
from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.gradient import beside_gradient
from hedgeseg.attribution.rules.layered import signed_proportion
from hedgeseg.attribution.rules.linear import Convolution, Dense, data, linear_map, product_keeps
from hedgeseg.attribution.rules.proportional import adjoint
from hedgeseg.attribution.rules.residual import by_branch
from hedgeseg.attribution.rules.rule import Relevance, Rule, RuleBook, composite
from hedgeseg.attribution.rules.structural import (
    average,
    influence,
    pass_through,
    signal_of_product,
    single,
    structural_rules,
    sum_rule,
    winner,
)
from hedgeseg.attribution.rules.zbeta import z_beta
from hedgeseg.attribution.sweep import sweep


def explain(problem: Problem) -> Explanation:
    """AGF (Algorithm 1), with all its terms, from the target's logit to the pixels.

    1x1 convolutions take no residual; nor does the classifier, where the start is.

    Args:
        problem: What is to be explained.

    Returns:
        Signed maps; the largest relevance of a pixel and channel is 1. The sum is about 0, as layers only move about
        what the small start carries: positive where pixels resemble those that speak for the target. Cost: one forward
        pass, and per target about nine convolutions a layer, twice the memory of other methods.
    """
    book = rule_book()
    recording = record_logits(problem, book)
    tops = list(dict.fromkeys(linear_map(op, problem.dtype)[0] for op in classifiers(recording)))
    streams = initial_streams(problem, recording, tops)
    maps = []
    slices = list(problem.target_slices())
    for i, part in enumerate(slices):
        start = {at: torch.cat([phi[part], g[part]]) for at, (phi, g) in zip(tops, streams, strict=True)}
        ends = sweep(recording.tape, start, book, free=i == len(slices) - 1, report=problem.report)
        maps.append(peak_normalised(ends[recording.tape.images].chunk(2)[0]).sum(2))
    empty = problem.images.new_empty(0, len(problem.images), *problem.images.shape[2:], dtype=problem.dtype)
    return Explanation(torch.cat(maps) if maps else empty, recording.logits)


def initial_streams(problem: Problem, recording: Recording, tops: Sequence[Value]) -> list[tuple[Tensor, Tensor]]:
    """Relevance and gradient at the input of every classifier (one in most networks).

    The gradient is that of ``q_t``, with ``q = softmax_k(y_t exp(-((y_k - y_t) / sigma)^2 / 2))`` and
    ``sigma = max_k |y_k - y_t|`` (Eq. 3-4).

    Returns:
        For each ``x g`` and ``g``, (T, *shape of the input).
    """
    xs = [data(top, problem.dtype).detach() for top in tops]
    with torch.enable_grad(), full_precision(xs[0]):
        leaves = [x.clone().requires_grad_() for x in xs]
        logits = run_head(recording, {top: leaf.clone() for top, leaf in zip(tops, leaves, strict=True)})
        rows = []
        for target in problem.targets.T[:, :, None]:
            y = logits.gather(1, target)
            sigma = (logits - y).abs().max(1, keepdim=True).values
            distance = safe_divide(logits - y, sigma.expand_as(logits))
            q = torch.softmax(y * torch.exp(-distance.square() / 2), 1)
            rows.append(torch.autograd.grad(q.gather(1, target).sum(), leaves, retain_graph=True))
    gradients = map(torch.stack, zip(*rows, strict=True)) if rows else (x.new_empty(0, *x.shape) for x in xs)
    return [(x * g, g) for x, g in zip(xs, gradients, strict=True)]


def peak_normalised(phi: Tensor) -> Tensor:
    """Each sample of (T, N, ...) divided by its largest entry."""
    peak = phi.flatten(2).amax(-1)
    return safe_divide(phi, peak.view(*peak.shape, *(1,) * (phi.ndim - 2)).expand_as(phi))


def rule_book() -> RuleBook:
    """The rules for both streams, relevance in the first half of the rows and gradient in the second.

    Views, moves and concatenations treat both alike; everything else has a rule for relevance and differentiates the
    gradient.
    """

    def weighted(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
        phi, g = single(relevance).chunk(2)
        value, linear = linear_map(op, phi.dtype)
        g_in = adjoint(linear, g, linear.weight)
        return [(value, torch.cat([_on_layer(op, value, linear, phi, g, g_in), g_in]))]

    beside = {
        ACTIVATIONS: _masked,
        NORMALISATIONS | POINTWISE: pass_through,
        AVERAGES: average,
        MAXIMA: winner,
        PRODUCTS | QUOTIENTS: signal_of_product,
        SUMS: sum_rule(by_branch(signed_proportion, influence)),
    }
    classes = {WEIGHTED: Rule(weighted, product_keeps)}
    for packets, function in beside.items():
        keeps = Keeps(inputs=True, outputs=packets in (ACTIVATIONS, MAXIMA))
        classes[packets] = Rule(beside_gradient(function), keeps)
    return RuleBook("agf", composite(classes, over=structural_rules()))


def _on_layer(op: Op, value: Value, linear: Convolution | Dense, phi: Tensor, g: Tensor, g_in: Tensor) -> Tensor:
    x = data(value, phi.dtype)
    if value.pixels:
        return z_beta(linear, x, phi, samples=op.samples)
    if isinstance(linear, Convolution):
        if all(k == 1 for k in linear.kernel):
            return plain(linear, x, phi)
        return guided_factorisation(linear, x, phi, g, g_in)
    flattened = _flattened_map(value)
    return plain(linear, x, phi) if flattened is None else through_flattening(linear, x, phi, g_in, flattened)


def _flattened_map(value: Value) -> torch.Size | None:
    """The shape of the feature map that a vector was flattened from, or None."""
    op = value.producer
    if op is None or op.packet not in VIEWS or op.inputs[0].positions == 1:
        return None
    shape = op.inputs[0].shape
    # Row by row, that is: not positions that were made rows.
    return shape if shape[0] == value.shape[0] and op.inputs[0].samples == value.samples else None


def _masked(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """An activation passes relevance only where its output is not 0."""
    phi, output = single(relevance), op.output
    return [(op.inputs[0], phi * (data(output, phi.dtype) != 0))]


METHOD = Method(
    "agf",
    "AGF (Gur et al. 2021): relevance guided by a factorisation of inputs and gradients",
    explain,
    signed=True,
    cost="1 forward, then about 9 convolutions a layer per target",
)
