"""Layer-wise relevance propagation: the alpha-beta rules and the epsilon rule (Bach et al. 2015; Montavon et al. 2019).

Positive contributions are ``x+ W+ + x- W-``, negative ones ``x+ W- + x- W+``; alpha and ``beta = alpha - 1`` weigh what
is given to each. After a ReLU the second term of each is 0, and the two forms of the rule differ by the bias alone.
"""

from __future__ import annotations

from torch import Tensor

from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.linear import Convolution, Dense
from hedgeseg.attribution.rules.proportional import Division, Group, proportional, split


def contributions(linear: Convolution | Dense, x: Tensor) -> tuple[list[Group], list[Group]]:
    """The groups of positive and of negative contributions; those of negative inputs only where there are any."""
    (positive, negative), (excites, inhibits) = split(x), split(linear.weight)
    if bool((x < 0).any()):
        return [(positive, excites), (negative, inhibits)], [(positive, inhibits), (negative, excites)]
    return [(positive, excites)], [(positive, inhibits)]


def alpha_beta_joint(
    linear: Convolution | Dense,
    x: Tensor,
    r: Tensor,
    *,
    alpha: float,
    bias: Tensor | None = None,
    divide: Division = safe_divide,
) -> Tensor:
    """One denominator per sign: ``alpha J(positive) - (alpha - 1) J(negative)``.

    Args:
        linear: The layer.
        x: Its input (N, ...).
        r: Relevance of its output (T, N, ...).
        alpha: At least 1.
        bias: Added to the denominators by sign; takes its share of the relevance.
        divide: The division.

    Returns:
        Relevance of the input (T, N, ...).
    """
    positive, negative = contributions(linear, x)
    plus, minus = (0.0, 0.0) if bias is None else split(bias)
    out = alpha * proportional(linear, r, *positive, extra=plus, divide=divide)
    if alpha != 1:
        out = out - (alpha - 1) * proportional(linear, r, *negative, extra=minus, divide=divide)
    return out


def alpha_beta_separate(linear: Convolution | Dense, x: Tensor, r: Tensor, *, alpha: float) -> Tensor:
    """Each product of signs with a denominator of its own, as in the research code that RAP and AGF compare with.

    Where inputs of both signs meet, the relevance doubles.
    """
    positive, negative = contributions(linear, x)
    out = alpha * sum((proportional(linear, r, g) for g in positive[1:]), proportional(linear, r, positive[0]))
    if alpha != 1:
        lost = sum((proportional(linear, r, g) for g in negative[1:]), proportional(linear, r, negative[0]))
        out = out - (alpha - 1) * lost
    return out


def epsilon_rule(
    linear: Convolution | Dense, x: Tensor, r: Tensor, *, divide: Division, bias: Tensor | None = None
) -> Tensor:
    """``x * W^T(R / (z + e sign(z)))`` with ``z = x W + b``, by a division that adds e (Bach et al. 2015, Eq. 58)."""
    return proportional(linear, r, (x, linear.weight), extra=0.0 if bias is None else bias, divide=divide)


def relevance_cam_rule(linear: Convolution | Dense, x: Tensor, r: Tensor, *, bias: Tensor | None) -> Tensor:
    """Alpha 1, beta 0 with twice the signed bias in the denominator (Lee et al. 2021, as published)."""
    positive, _ = contributions(linear, x)
    return proportional(linear, r, *positive, extra=0.0 if bias is None else 2 * bias)
