"""Excitation backpropagation: a top-down winner-take-all walk as a probability (Zhang et al. 2016, Eq. 3-4).

    p_i = x_i sum_j W+_ij p_j / (sum_i x_i W+_ij + 1e-20)

The input is not clamped and the bias plays no part; a rectifier and a max-pool pass the plain gradient.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from hedgeseg.attribution.nodes import Keeps
from hedgeseg.attribution.operations import ACTIVATIONS
from hedgeseg.attribution.rules.gradient import gradient
from hedgeseg.attribution.rules.layered import layered_rules, plain, signed_proportion
from hedgeseg.attribution.rules.linear import Convolution, Dense
from hedgeseg.attribution.rules.proportional import proportional
from hedgeseg.attribution.rules.rule import Rule, composite

TINY = 1e-20


def excitation(linear: Convolution | Dense, x: Tensor, p: Tensor) -> Tensor:
    """The rule for one layer.

    Args:
        linear: The layer.
        x: Its input (N, ...).
        p: Winning probability of its outputs (T, N, ...).

    Returns:
        That of its inputs (T, N, ...).
    """
    return _through(linear, x, p, linear.weight)


def contrast(linear: Convolution | Dense, x: Tensor, p: Tensor) -> Tensor:
    """Excitation minus that of the dual unit, whose weights are the negated ones (Eq. 7); signed."""
    return _through(linear, x, p, linear.weight) - _through(linear, x, p, -linear.weight)


def excitation_rules() -> dict[Any, Rule]:
    """The table: sums share in proportion to their operands."""
    table = layered_rules(plain(excitation), first=None, share=signed_proportion)
    return composite({ACTIVATIONS: Rule(gradient, Keeps(inputs=True))}, over=table)


def _through(linear: Convolution | Dense, x: Tensor, p: Tensor, weight: Tensor) -> Tensor:
    return proportional(linear, p, (x, weight.clamp(min=0)), divide=lambda a, b: a / (b + TINY))
