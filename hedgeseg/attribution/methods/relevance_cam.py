"""Relevance-CAM: a feature map whose channels are weighted by their relevance (Lee et al., CVPR 2021).

r = attribute(model, images, targets, method="relevance_cam", layer="layer2")
"""

from __future__ import annotations

from torch import Tensor

from hedgeseg.attribution.feature_map import channels_first
from hedgeseg.attribution.layers import family_layer
from hedgeseg.attribution.methods.from_layer import channel_weights, resize
from hedgeseg.attribution.methods.from_logits import one_hot, propagate, record_with_layer
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.rules.alpha_beta import relevance_cam_rule
from hedgeseg.attribution.rules.layered import layered_rules, signed_proportion
from hedgeseg.attribution.rules.linear import Convolution, Dense, bias_of, data
from hedgeseg.attribution.sweep import RuleBook
from hedgeseg.attribution.tape import Op


def explain(problem: Problem) -> Explanation:
    """``sum_c mean(R_c) A_c`` at a layer, resized (Eq. 8-9).

    Args:
        problem: What is to be explained. Its layer is chosen as for ``hedge``; an earlier one gives a finer map, which
            the paper shows to be as class-specific.

    Returns:
        Signed maps; positive where the channels are relevant to the target rather than to the other classes. Scale each
        to [0, 1] for display, as the authors do. Cost: one forward pass, and per target two convolutions for each
        layer behind the chosen one.
    """
    coarse, logits, name = coarse_maps(problem)
    return Explanation(resize(coarse, problem.images.shape[2:]), logits, name)


def coarse_maps(problem: Problem) -> tuple[Tensor, Tensor, str]:
    """The maps at the layer's own resolution (T, N, *space), the logits and the layer's name."""
    book = rule_book()
    recording, name, layer = record_with_layer(problem, book, family_layer(problem.model), data=True)
    activation = channels_first(recording.tape, layer, data(layer, problem.dtype))
    target = one_hot(problem, recording)
    start = target - (1 - target) / target.shape[-1]
    relevance = channels_first(recording.tape, layer, propagate(problem, recording, book, start, until=layer))
    return (channel_weights(relevance) * activation).sum(2), recording.logits, name


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
