"""Gradient hedging with terms left out (Nam et al., Table 2): the rule of `hedge`, written term by term."""

from __future__ import annotations

from collections.abc import Iterable, Set

from torch import Tensor

from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.hedge import modulate
from hedgeseg.attribution.rules.linear import Convolution, Dense
from hedgeseg.attribution.rules.proportional import proportional
from hedgeseg.attribution.samples import Samples, per_sample, spread

TERMS = ("C", "A", "U", "Psi")


def hedge_without(
    linear: Convolution | Dense,
    x: Tensor,
    r: Tensor,
    *,
    without: Set[str],
    samples: Samples,
    gamma: float = 1.0,
    pointwise: bool = False,
    unit_mass: bool = False,
) -> Tensor:
    """``R_in = (C - Psi) + A + U`` (Eq. 13) less the terms that are left out.

    What is left of the sum of R_in depends on the terms, where the whole rule gives (gamma - 2) tau: C alone gives
    (gamma - 1) tau, A adds tau, U and Psi take tau each.

    Args:
        linear: The layer.
        x: Its input (M, ...).
        r: Relevance of its output (T, M, ...).
        without: Some of `TERMS`. Psi is taken from the non-zero entries of C, whether C is left out or not.
        samples: See `hedge`.
        gamma: See `hedge`.
        pointwise: See `hedge`.
        unit_mass: See `hedge`.

    Returns:
        Relevance of the input (T, M, ...); 0 if every term is left out.
    """
    weight = linear.weight.abs()
    positive, negative, tau = modulate(r, samples, unit_mass)
    out = r.new_zeros(len(r), *x.shape)
    if not {"C", "Psi"} <= without:
        mixed = positive + negative if pointwise else gamma * positive + negative
        contribution = proportional(linear, mixed, (x.clamp(min=0), weight))
        if "C" not in without:
            out = out + contribution
        if "Psi" not in without and not pointwise:
            nonzero = contribution != 0
            share = safe_divide(tau, per_sample(nonzero.to(r.dtype), samples))
            out = out - nonzero * spread(share, contribution, samples)
    if "A" not in without:
        out = out + proportional(linear, positive, ((x > 0).to(x.dtype), weight))
    if "U" not in without:
        out = out + proportional(linear, negative, ((x <= 0).to(x.dtype), weight))
    return out


def terms(names: Iterable[str]) -> frozenset[str]:
    """The terms that a user named; one may be given as a plain string.

    Raises:
        ValueError: If one is unknown.
    """
    named = frozenset([names] if isinstance(names, str) else names)
    unknown = sorted(named - set(TERMS))
    if unknown:
        raise ValueError(f"ablate={unknown}: the terms that can be left out are {', '.join(TERMS)}")
    return named
