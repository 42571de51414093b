"""Layer-wise relevance propagation with the alpha-beta rule (Bach et al. 2015).

r = attribute(model, images, targets, method="lrp_alpha_beta", alpha=2.0, variant="joint")
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

from torch import Tensor

from hedgeseg.attribution.methods.from_logits import propagate, record_logits, target_logits
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.nodes import Op
from hedgeseg.attribution.rules.alpha_beta import alpha_beta_joint, alpha_beta_separate
from hedgeseg.attribution.rules.attention import Attention, attention_rules, check_attention
from hedgeseg.attribution.rules.layered import Z_BOX, layered_rules, plain, signed_proportion
from hedgeseg.attribution.rules.linear import Convolution, Dense, bias_of
from hedgeseg.attribution.rules.proportional import stabilised
from hedgeseg.attribution.rules.rule import RuleBook

Variant = Literal["joint", "separate"]

EPSILON = 1e-6


def explain(
    problem: Problem, alpha: float = 2.0, variant: Variant = "joint", attention: Attention = "cplrp"
) -> Explanation:
    """LRP-alpha-beta (Eq. 60) of the target's logit down to the pixels, with ``beta = alpha - 1``.

    Args:
        problem: What is to be explained.
        alpha: At least 1: the weight of positive contributions.
        variant: "joint" is the rule of the paper: one denominator for each sign, biases in it, also at the layer that
            reads the image. "separate" is the one that the comparisons of RAP, RSP and AGF used: a denominator for each
            product of signs, no biases, and the z^B rule at the layer that reads the image.
        attention: See ``lrp_epsilon``.

    Returns:
        Maps in units of the logit, whose sign they share at alpha = 1. Their sum is the logit less what biases absorb;
        "separate" conserves it in networks of ReLUs. Cost: one forward pass, and per target two (at alpha = 1, else
        four) convolutions a layer.

    Raises:
        ValueError: If an option has no such value, or a layer is given.
    """
    if not alpha >= 1:
        raise ValueError(f"alpha={alpha}: must be at least 1, so that beta = alpha - 1 is not negative")
    if variant not in ("joint", "separate"):
        raise ValueError(f"variant={variant!r}: must be 'joint' or 'separate'")
    check_attention(attention)
    book = separate_book("lrp_alpha_beta", alpha) if variant == "separate" else joint_book(alpha)
    book = replace(book, rules=attention_rules(attention, book.rules, lambda op: stabilised(EPSILON)))
    recording = record_logits(problem, book)
    maps = propagate(problem, recording, book, target_logits(problem, recording)).sum(2)
    return Explanation(maps, recording.logits)


def joint_book(alpha: float) -> RuleBook:
    """One denominator per sign, biases included, at every layer."""

    def hidden(op: Op, linear: Convolution | Dense, x: Tensor, r: Tensor) -> Tensor:
        return alpha_beta_joint(linear, x, r, alpha=alpha, bias=bias_of(op, r.dtype), divide=stabilised(EPSILON))

    return RuleBook("lrp_alpha_beta", layered_rules(hidden, first=None, share=signed_proportion))


def separate_book(method: str, alpha: float) -> RuleBook:
    """One denominator per product of signs, no biases, z^B at the layer that reads the image.

    Args:
        method: Whose book it is.
        alpha: See `explain`.
    """
    return RuleBook(method, layered_rules(plain(partial(alpha_beta_separate, alpha=alpha)), Z_BOX, signed_proportion))


METHOD = Method(
    "lrp_alpha_beta",
    "LRP-alpha-beta (Bach et al. 2015): the logit divided by positive and negative contributions",
    explain,
    signed=True,
    cost="1 forward, then 2 (alpha = 1) or 4 convolutions a layer per target",
)
