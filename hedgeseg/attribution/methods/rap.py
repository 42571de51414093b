"""Relative attributing propagation: what matters and what does not, as a signed map (Nam et al., AAAI 2020).

r = attribute(model, images, targets, method="rap")
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import Tensor

from hedgeseg.attribution.methods.from_logits import classifiers, one_hot, propagate, record_logits
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.nodes import Op
from hedgeseg.attribution.rules.layered import Z_BOX, by_image, layered_rules, on_layer, signed_proportion
from hedgeseg.attribution.rules.linear import Convolution, Dense, bias_of
from hedgeseg.attribution.rules.rap import absolute_influence, absolute_proportion, relative_influence
from hedgeseg.attribution.rules.rule import RuleBook

Variant = Literal["rap", "agf"]


def explain(problem: Problem, variant: Variant = "rap") -> Explanation:
    """RAP of the target's logit (Eq. 4-10) down to the pixels.

    Args:
        problem: What is to be explained.
        variant: "rap" is the authors' rule; "agf" takes the absolute proportion at 1x1 convolutions, as the
            comparison of AGF did.

    Returns:
        Signed maps in units of the logit, whose sum they have in a chain of layers with inputs >= 0: negative where a
        pixel has little influence, rather than evidence against the class. At residual sums, relevance is divided by
        the operands' signed values, which may grow without bound where these cancel. Cost: one forward pass, and per
        target four convolutions a layer.

    Raises:
        ValueError: If an option has no such value, or a layer is given.
    """
    if variant not in ("rap", "agf"):
        raise ValueError(f"variant={variant!r}: must be 'rap' or 'agf'")

    def top(op: Op, linear: Convolution | Dense, x: Tensor, r: Tensor) -> Tensor:
        return absolute_influence(linear, x, r, samples=op.samples, bias=bias_of(op, r.dtype))

    book = rule_book(variant)
    recording = record_logits(problem, book)
    book = replace(book, special=dict.fromkeys(classifiers(recording), on_layer(top)))
    maps = propagate(problem, recording, book, one_hot(problem, recording)).sum(2)
    return Explanation(maps, recording.logits)


def rule_book(variant: Variant) -> RuleBook:
    """The rules of all layers but the classifier."""
    influence = by_image(relative_influence)

    def hidden(op: Op, linear: Convolution | Dense, x: Tensor, r: Tensor) -> Tensor:
        if variant == "agf" and isinstance(linear, Convolution) and all(k == 1 for k in linear.kernel):
            return absolute_proportion(linear, x, r)
        return influence(op, linear, x, r)

    return RuleBook("rap", layered_rules(hidden, Z_BOX, signed_proportion))


METHOD = Method(
    "rap",
    "RAP (Nam et al. 2020): relative influence, shifted so that what hardly matters is negative",
    explain,
    signed=True,
    cost="1 forward, then 4 convolutions a layer per target",
)
