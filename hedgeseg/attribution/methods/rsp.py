"""Relative sectional propagation: a class-specific start, decomposed by activations (Nam et al., AAAI 2021).

r = attribute(model, images, targets, method="rsp", multi_label=False)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from hedgeseg.attribution.feature_map import FeatureMap
from hedgeseg.attribution.methods.from_layer import channel_weights, record_to_layers
from hedgeseg.attribution.methods.from_logits import propagate_between
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.rules.layered import Z_BOX, by_image, layered_rules, positive_proportion
from hedgeseg.attribution.rules.rsp import OFFSET, peak_normalised, relative_start, sectional
from hedgeseg.attribution.rules.rule import RuleBook


def explain(problem: Problem, multi_label: bool = False) -> Explanation:
    """RSP from a feature map's gradient-weighted channels down to the pixels.

    The start is ``x * mean(dy_t/dx) / max``, with its sign. At a convolution, positive and negative relevance are each
    sent along the activations they were met with, ``C = x+ V^T(R / (x+ V))`` where V correlates x+ with R, instead of
    along its weights; the positive share minus the negative one is shifted to the sum that arrived.

    Args:
        problem: What is to be explained; its layer is chosen as for ``hedge``.
        multi_label: Whether an image's targets are each other's hostile labels: each starts from its own map minus the
            others'. An image with one target starts as without it.

    Returns:
        Signed maps: positive where the target is, negative where something hostile to it is. The sum is that of the
        start: of a map whose largest entry is 1, or 1 with `multi_label`. Cost: one forward pass, and per target six
        convolutions a layer, one sample at a time.
    """
    book = rule_book()
    layers = record_to_layers(problem, book)
    start, pixels = layers.start(initial_maps(layers.maps, multi_label)), layers.recording.tape.images
    (maps,) = propagate_between(problem, layers.recording, book, start, [pixels])
    return Explanation(maps.sum(2), layers.recording.logits, layers.name)


def initial_maps(layers: Sequence[FeatureMap], multi_label: bool = False) -> list[Tensor]:
    """Where RSP begins.

    Args:
        layers: The layers, with rows (M, C, *space).
        multi_label: See `explain`.

    Returns:
        (T, M, C, *space) for each layer; peaks and masses are those of all layers together.
    """
    samples = [layer.samples for layer in layers]
    maps = peak_normalised([layer.activation * channel_weights(layer.gradients) for layer in layers], samples)
    return relative_start(maps, samples) if multi_label and len(maps[0]) > 1 else maps


def rule_book() -> RuleBook:
    """The rules of RSP."""
    return RuleBook("rsp", layered_rules(by_image(sectional), Z_BOX, partial(positive_proportion, offset=OFFSET)))


METHOD = Method(
    "rsp",
    "RSP (Nam et al. 2021): target against hostile evidence, divided by activations instead of weights",
    explain,
    signed=True,
    cost="1 forward, then 6 convolutions a layer per target",
)
