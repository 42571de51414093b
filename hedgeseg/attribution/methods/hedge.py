"""Gradient hedging: sharp, signed, class-specific maps at the resolution of the input.

    r = attribute(model, images, targets, method="hedge", gamma=1.0)

The class's gradient-weighted feature map (Eq. 4-5) is propagated to the pixels; at every convolution, positive
relevance is held against an equal amount of negative (`rules.hedge`), and the layer that reads the image takes the
z^B rule (`rules.zbeta`).

Source: W.-J. Nam, S.-W. Lee, "Gradient Hedging for Intensively Exploring Salient Interpretation beyond Neuron
Activation", arXiv 2205.11109; T-PAMI 2024 as "Attribution Equilibrium".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Literal, get_args

import torch
from torch import Tensor

from hedgeseg.attribution.branches import find_fork, main_branch
from hedgeseg.attribution.feature_map import FeatureMap
from hedgeseg.attribution.methods.from_layer import channel_weights, record_to_layers
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.nodes import Keeps, Op, Value
from hedgeseg.attribution.operations import NORMALISATIONS, SUMS, WEIGHTED
from hedgeseg.attribution.precision import NO_BF16, has_bf16
from hedgeseg.attribution.projection import Projection
from hedgeseg.attribution.rules.ablation import hedge_without, terms
from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.hedge import hedge
from hedgeseg.attribution.rules.layered import Z_BOX, on_layer
from hedgeseg.attribution.rules.linear import Convolution, Dense, Mixing, data
from hedgeseg.attribution.rules.residual import adds_equals, adds_to_tokens
from hedgeseg.attribution.rules.rule import Relevance, Rule, RuleBook, composite
from hedgeseg.attribution.rules.structural import concatenate, influence, single, structural_rules, sum_rule
from hedgeseg.attribution.rules.workspace import Workspace
from hedgeseg.attribution.samples import Samples, per_sample, spread
from hedgeseg.attribution.stages import Stages, Wanted, check_stages
from hedgeseg.attribution.sweep import sweep
from hedgeseg.attribution.tape import Tape

aten = torch.ops.aten

Variant = Literal["paper", "official"]
Residual = Literal["main", "influence"]
Precision = Literal["fp32", "bf16"]


def explain(
    problem: Problem,
    gamma: float = 1.0,
    variant: Variant = "paper",
    residual: Residual = "main",
    precision: Precision = "fp32",
    ablate: Sequence[str] = (),
    stages: Wanted | None = None,
) -> Explanation:
    """Hedged attribution.

    Args:
        problem: What is to be explained.
        gamma: In [1, 2]: how much positive contributions weigh. 1 is the sharpest; 2 covers more.
        variant: "paper" conserves the mass of branches; "official" equals the authors' published implementation.
        residual: How the "paper" variant divides relevance at a residual sum: all to the branch with the convolutions,
            or in proportion to the branches' absolute values.
        precision: "bf16" computes the layers with absolute weights in bfloat16 (not in an ablation), where the device
            has instructions for that; elsewhere it warns and computes in float32.
        ablate: Terms of Eq. 13 to leave out, of "C", "A", "U" and "Psi" (Table 2, at gamma = 2): for studies of the
            rule, slower than the whole.
        stages: Instead of the pixels' relevance alone, the mean of that of several stages, each divided by its largest
            absolute value: their strides, powers of two such as [16, 32], where 1 is the pixels; or "coarse", the two
            coarsest of the network; or "ends", these and the pixels. Relevance narrows on its way to the pixels: coarse
            stages cover more of an object and, as the sweep ends early, cost a part. Not in the paper.

    Returns:
        Signed maps. Positive is evidence for the class. The scale of the "paper" variant is such that the absolute
        relevance of an image's channels and pixels sums to 2 (before the channels are summed); the "official" variant
        has the authors' scale, a sum of gamma - 2 on networks without branches. Cost: one forward pass, and as much
        as three more shared by all targets and three per target.

    Raises:
        ValueError: If an option has no such value.
        LayerError: If the network has no such stage.
    """
    _check(gamma, variant, residual, precision)
    if stages is not None:
        check_stages(stages)
    if precision == "bf16" and not has_bf16(problem.images.device):
        problem.remarks.add(NO_BF16)
        precision = "fp32"
    book = rule_book(gamma, variant, residual, precision, ablate)
    layers = record_to_layers(problem, book)
    tape, initial = layers.recording.tape, layers.start(initial_maps(layers.maps))
    scale = doubled_forks(tape) if variant == "official" else {}
    maps = []
    slices = list(problem.target_slices())
    for i, part in enumerate(slices):
        start = {value: r[part] for value, r in initial.items()}
        last = i == len(slices) - 1
        seen = Stages(tape.images.shape, Projection(tape, "hedge").to_images, stages) if stages is not None else None
        ends = sweep(tape, start, book, scale=scale, free=last, report=problem.report, stages=seen)
        if seen is not None:
            maps.append(seen.maps(ends.get(tape.images)))
            continue
        relevance = ends[tape.images]
        maps.append((unit_relevance(relevance) if variant == "paper" else relevance).sum(2))
    return Explanation(torch.cat(maps), layers.recording.logits, layers.name)


METHOD = Method(
    "hedge",
    "Gradient hedging (Nam et al. 2024): signed pixel relevance, positive held against equal negative",
    explain,
    signed=True,
    cost="1 forward, then 3 convolutions a layer, and 3 per target",
)


def initial_maps(layers: Sequence[FeatureMap]) -> list[Tensor]:
    """The gradient-weighted feature maps, of total 1 or -1 in all layers together (Eq. 5).

    Args:
        layers: The layers, with rows (M, C, *space).

    Returns:
        For each layer ``x w / |sum x w|``, (T, M, C, *space), with w the mean gradient of each channel and the sum over
        all entries of all layers that belong to an image. Maps pooled apart start as the one map does that they are the
        channels of.
    """
    weighted = [layer.activation * channel_weights(layer.gradients) for layer in layers]
    total = sum(per_sample(w, layer.samples) for w, layer in zip(weighted, layers, strict=True))
    mass = sum(per_sample(w.abs(), layer.samples) for w, layer in zip(weighted, layers, strict=True))
    assert isinstance(total, Tensor)
    # Behind a layer norm the total is 0 but for rounding, because scaling the map does not change the logits.
    total = torch.where(total == 0, mass, total.abs())
    scale = safe_divide(torch.ones_like(total), total)
    return [w * spread(scale, w, layer.samples) for w, layer in zip(weighted, layers, strict=True)]


def unit_relevance(relevance: Tensor) -> Tensor:
    """Relevance (T, N, ...) scaled to an absolute sum of 2 per sample: a mass of 1 on either side, if they balance."""
    samples = Samples(relevance.shape[1])
    mass = per_sample(relevance.abs(), samples)
    return relevance * spread(safe_divide(2 * torch.ones_like(mass), mass), relevance, samples)


def rule_book(
    gamma: float, variant: Variant, residual: Residual, precision: Precision, ablate: Sequence[str]
) -> RuleBook:
    """The table for `sweep`; what the options mean, and what they are by default, `explain` says."""
    official = variant == "official"
    if ablate:
        rule: Callable[..., Tensor] = partial(hedge_without, without=terms(ablate))
    else:
        rule = partial(hedge, dtype=torch.bfloat16 if precision == "bf16" else None, workspace=Workspace())

    def hidden(op: Op, linear: Convolution | Dense, x: Tensor, r: Tensor) -> Tensor:
        pointwise = _is_pointwise(linear, official)
        return rule(linear, x, r, samples=op.samples, gamma=gamma, pointwise=pointwise, unit_mass=official)

    @cache
    def main(op: Op) -> Value | None:
        if official:
            return main_branch(op)
        return main_branch(op) if residual == "main" and not adds_to_tokens(op) else None

    def share(op: Op, r: Tensor) -> Relevance:
        branch = main(op)
        if branch is not None:
            return [(branch, r)]
        return [(op.inputs[0], r)] if official else influence(op, r)

    def sum_keeps(op: Op) -> Keeps:
        if not adds_equals(op) or official or main(op) is not None:
            return Keeps()
        return Keeps(inputs=True)

    classes = {WEIGHTED: on_layer(hidden, Z_BOX), SUMS: Rule(sum_rule(share), sum_keeps)}
    if official:
        classes[NORMALISATIONS] = Rule(_official_normalisation, Keeps(inputs=True))
        classes[frozenset({aten.cat})] = Rule(_official_concatenation, Keeps(inputs=True))
    return RuleBook("hedge", composite(classes, over=structural_rules()), equivariant=not official)


def doubled_forks(tape: Tape) -> dict[Value, float]:
    """The authors' residual block returns twice its main branch: a factor of 2 at every fork."""
    sums = (op for op in tape.ops if op.packet in SUMS and adds_equals(op))
    return dict.fromkeys({find_fork(op.inputs[0], op.inputs[1]).value for op in sums}, 2.0)


def _is_pointwise(linear: Convolution | Dense, official: bool) -> bool:
    """Whether a layer reads one position at a time: attention, like an extended kernel, does not."""
    if not isinstance(linear, Convolution):
        return not isinstance(linear, Mixing)
    return linear.kernel[0] == 1 if official else all(k == 1 for k in linear.kernel)


def _official_normalisation(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """Batch norm passes relevance only where ``x * weight`` is not 0."""
    r, value = single(relevance), op.inputs[0]
    weight = op.args[1]
    passes = data(value, r.dtype) != 0
    if isinstance(weight, Tensor) and weight.ndim == 1 and len(weight) == value.shape[1]:
        passes = passes & (weight != 0).view(-1, *(1,) * (len(value.shape) - 2))
    return [(value, r * passes)]


def _official_concatenation(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """A part passes relevance only where it is not 0; a dense block's output gives none to the block's input.

    The concatenations inside a dense layer are plain.
    """
    parts = concatenate(op, relevance)
    owner = op.module.rsplit(".", 1)[-1]
    if owner.startswith("denselayer"):
        return parts
    if owner.startswith("denseblock"):
        parts = parts[1:]
    return [(v, r * (data(v, r.dtype) != 0)) for v, r in parts]


def _check(gamma: float, variant: str, residual: str, precision: str) -> None:
    if not 1.0 <= gamma <= 2.0:
        raise ValueError(f"gamma={gamma}: must lie in [1, 2] (1 is sharpest, 2 covers most)")
    for name, value, kind in (
        ("variant", variant, Variant),
        ("residual", residual, Residual),
        ("precision", precision, Precision),
    ):
        allowed = get_args(kind)
        if value not in allowed:
            raise ValueError(f"{name}={value!r}: must be one of {', '.join(map(repr, allowed))}")
