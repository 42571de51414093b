"""Gradient hedging: positive relevance held against an equal amount of negative (Nam et al., Eq. 6-13).

Notation as in the paper: `x` the layer's input, `W` its weights (the bias plays no part), ``v+ = max(v, 0)``,
``alpha = [x > 0]``, ``beta = [x <= 0]``, and ``J(v, M, R) = v * M^T(R / (M v))`` with 0 for a division by 0. For
incoming relevance R of mass tau, ``P' = tau R+ / sum R+`` and ``N' = tau R- / |sum R-|``:

    C = J(x+, |W|, gamma P') + J(x+, |W|, N')       contribution
    A = J(alpha, |W|, P')                            activated positions, positive side
    U = J(beta, |W|, N')                             inactive positions, negative side
    Psi = tau / (number of non-zero entries of C)    on those entries: the uniform shift
    R_in = (C - Psi) + A + U

The sum of R_in is (gamma - 2) tau wherever no needed denominator vanishes. 1x1 convolutions take gamma = 1 and no Psi.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hedgeseg.attribution.rules.linear import Convolution, Dense


def safe_divide(a: Tensor, b: Tensor) -> Tensor:
    """``a / b``, and 0 where b is 0."""
    return torch.where(b == 0, 0, a / torch.where(b == 0, 1, b))


def per_sample(r: Tensor, batch: int) -> Tensor:
    """Sum of every sample's entries: (T, N*m, ...) to (T, N)."""
    return r.reshape(len(r), batch, -1).sum(-1)


def spread(s: Tensor, like: Tensor) -> Tensor:
    """Per-sample numbers (T, N) in a shape that broadcasts against `like` (T, N*m, ...)."""
    repeats = like.shape[1] // s.shape[1]
    s = s if repeats == 1 else s.repeat_interleave(repeats, dim=1)
    return s.view(*s.shape, *(1,) * (like.ndim - 2))


def modulate(r: Tensor, batch: int, unit_mass: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Give both signs of the relevance the same mass (Eq. 6-7).

    Args:
        r: Relevance (T, N*m, ...).
        batch: N.
        unit_mass: Whether tau is 1 (the authors' implementation) instead of half of the absolute mass that arrived.

    Returns:
        ``P'`` >= 0 and ``N'`` <= 0, shaped as `r`, and tau (T, N). A sign that is missing gives 0.
    """
    positive, negative = r.clamp(min=0), r.clamp(max=0)
    mass_p, mass_n = per_sample(positive, batch), -per_sample(negative, batch)
    tau = torch.ones_like(mass_p) if unit_mass else (mass_p + mass_n) / 2
    return (
        positive * spread(safe_divide(tau, mass_p), r),
        negative * spread(safe_divide(tau, mass_n), r),
        tau,
    )


def hedge(
    linear: Convolution | Dense,
    x: Tensor,
    r: Tensor,
    *,
    batch: int,
    gamma: float = 1.0,
    pointwise: bool = False,
    unit_mass: bool = False,
) -> Tensor:
    """The hedging rule for one layer (Eq. 8-13).

    Args:
        linear: The layer.
        x: Its input (N*m, ...).
        r: Relevance of its output (T, N*m, ...).
        batch: N.
        gamma: Weight of positive contributions, in [1, 2].
        pointwise: Whether the kernel is 1x1: gamma is 1 then, and there is no Psi.
        unit_mass: See `modulate`.

    Returns:
        Relevance of the input (T, N*m, ...).
    """
    targets = len(r)
    weight = linear.weight.abs()
    positive, negative, tau = modulate(r, batch, unit_mass)
    gains = torch.stack([x.clamp(min=0), (x > 0).to(x.dtype), (x <= 0).to(x.dtype)])
    z = linear.forward(gains.flatten(0, 1), weight).unflatten(0, (3, len(x)))
    mixed = positive + negative if pointwise else gamma * positive + negative
    s = torch.stack([safe_divide(mixed, z[0]), safe_divide(positive, z[1]), safe_divide(negative, z[2])])
    back = linear.adjoint(s.flatten(0, 2), weight).unflatten(0, (3, targets, len(x)))
    contribution = gains[0] * back[0]
    if not pointwise:
        nonzero = contribution != 0
        share = safe_divide(tau, per_sample(nonzero.to(r.dtype), batch))
        contribution = contribution - nonzero * spread(share, contribution)
    return contribution + gains[1] * back[1] + gains[2] * back[2]
