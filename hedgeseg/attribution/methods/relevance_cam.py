"""Relevance-CAM: a feature map whose channels are weighted by their relevance (Lee et al., CVPR 2021).

r = attribute(model, images, targets, method="relevance_cam", layer="layer2")
"""

from __future__ import annotations

from torch import Tensor

from hedgeseg.attribution.families import family_layer
from hedgeseg.attribution.feature_map import channels_first
from hedgeseg.attribution.layer_names import AND
from hedgeseg.attribution.methods.from_layer import channel_weights
from hedgeseg.attribution.methods.from_logits import one_hot, propagate_between, record_with_layers
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.nodes import Op, Value
from hedgeseg.attribution.projection import Projection
from hedgeseg.attribution.recording import Recording
from hedgeseg.attribution.rules.alpha_beta import relevance_cam_rule
from hedgeseg.attribution.rules.layered import layered_rules, signed_proportion
from hedgeseg.attribution.rules.linear import Convolution, Dense, bias_of, data
from hedgeseg.attribution.rules.rule import RuleBook


def explain(problem: Problem) -> Explanation:
    """``sum_c mean(R_c) A_c`` at a layer, resized (Eq. 8-9).

    Args:
        problem: What is to be explained. Its layer is chosen as for ``hedge``; an earlier one gives a finer map, which
            the paper shows to be as class-specific.

    Returns:
        Signed maps; positive where the channels are relevant to the target rather than to the other classes. Scale each
        to [0, 1] for display, as the authors do. Of several layers the maps add up. Cost: one forward pass, and per
        target two convolutions for each layer behind the chosen one.
    """
    recording, coarse = coarse_maps(problem)
    projection = Projection(recording.tape, "relevance_cam")
    first, *others = (projection.to_images(layer, maps) for layer, maps in coarse.values())
    return Explanation(sum(others, first), recording.logits, AND.join(coarse))


def coarse_maps(problem: Problem) -> tuple[Recording, dict[str, tuple[Value, Tensor]]]:
    """The forward pass and, by name, the layers with the maps at their own resolution, (T, M, *space)."""
    book = rule_book()
    recording, layers = record_with_layers(problem, book, family_layer(problem.model), data=True)
    tape, values = recording.tape, list(layers.values())
    activations = [channels_first(tape, value, data(value, problem.dtype)) for value in values]
    target = one_hot(problem, recording)
    start = {recording.class_logits_value: target - (1 - target) / target.shape[-1]}
    passed = propagate_between(problem, recording, book, start, values)
    maps = [
        (channel_weights(channels_first(tape, value, r)) * x).sum(2)
        for value, r, x in zip(values, passed, activations, strict=True)
    ]
    return recording, dict(zip(layers, zip(values, maps, strict=True), strict=True))


def rule_book() -> RuleBook:
    """LRP with alpha 1; the bias counts in convolutions only."""

    def hidden(op: Op, linear: Convolution | Dense, x: Tensor, r: Tensor) -> Tensor:
        bias = bias_of(op, r.dtype) if isinstance(linear, Convolution) else None
        return relevance_cam_rule(linear, x, r, bias=bias)

    return RuleBook("relevance_cam", layered_rules(hidden, first=None, share=signed_proportion))


METHOD = Method(
    "relevance_cam",
    "Relevance-CAM (Lee et al. 2021): feature map weighted by each channel's relevance, resized",
    explain,
    signed=True,
    cost="1 forward, then 2 convolutions a layer behind the chosen one per target",
)
