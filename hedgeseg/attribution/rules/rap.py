"""Relative attributing propagation: relevance as relative influence, shifted to what it was (Nam et al. 2020).

Notation: ``C`` what the inputs contribute, ``a % b`` = 0 where b is 0, sums over one sample's entries.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hedgeseg.attribution.rules.alpha_beta import contributions
from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.linear import Convolution, Dense
from hedgeseg.attribution.rules.proportional import adjoint, one_sided, proportional, split
from hedgeseg.attribution.samples import Samples, per_sample, spread


def absolute_influence(
    linear: Convolution | Dense, x: Tensor, r: Tensor, *, samples: Samples, bias: Tensor | None = None
) -> Tensor:
    """The rule of the classifier: the exact contributions to its output, redistributed by absolute value (Eq. 4-5).

    The bias is spread over the contributions of positive inputs, in proportion to them and to the shares of positive
    and negative contributions in the output.

    Args:
        linear: The classifier.
        x: Its input (M, ...).
        r: What of its output is explained, 1 at the target: (T, M, ...).
        samples: Which image every row belongs to.
        bias: Its bias.

    Returns:
        Relevance of one sign, ``|C_i| sum(C) / sum|C|``: its sum is the logit.
    """
    exact = x * adjoint(linear, r, linear.weight)
    if bias is not None:
        excites, inhibits = split(linear.weight)
        gains, losses = contributions(linear, x)
        pos = sum((linear.forward(v, m) for v, m in gains[1:]), linear.forward(*gains[0]))
        neg = sum((linear.forward(v, m) for v, m in losses[1:]), linear.forward(*losses[0]))
        share = safe_divide(bias.expand_as(pos), pos + neg)
        positive = x.clamp(min=0)
        exact = exact + proportional(linear, r * share * pos, (positive, excites))
        exact = exact + proportional(linear, r * share * neg, (positive, inhibits))
    influence = exact.abs()
    scale = safe_divide(per_sample(exact, samples), per_sample(influence, samples))
    return influence * spread(scale, influence, samples)


def relative_influence(linear: Convolution | Dense, x: Tensor, r: Tensor, *, samples: Samples) -> Tensor:
    """The rule of hidden layers (Eq. 6-10): positive and negative weights by their influence, then the uniform shift.

    Args:
        linear: The layer.
        x: Its input (M, ...); negative inputs are propagated as a second group of positive ones.
        r: Relevance of its output (T, M, ...).
        samples: Which image every row belongs to.

    Returns:
        Relevance of the input. Each group's sum is that of the relevance it could reach.
    """
    out = _one_sign(linear, x.clamp(min=0), r, samples)
    if bool((x < 0).any()):
        out = out + _one_sign(linear, -x.clamp(max=0), r, samples)
    return out


def _one_sign(linear: Convolution | Dense, v: Tensor, r: Tensor, samples: Samples) -> Tensor:
    excites, inhibits = linear.weight.clamp(min=0), -linear.weight.clamp(max=0)
    z_plus, z_minus = linear.forward(v, excites), linear.forward(v, inhibits)
    r = r * (z_plus + z_minus != 0)
    positive, negative = split(r)
    by_weight = safe_divide(r, z_plus + z_minus) * (z_minus != 0)
    s_plus, s_minus = safe_divide(positive, z_plus), by_weight
    # Negative relevance is passed on a second time: by the negative weights of a convolution, by the positive ones of a
    # fully connected layer, as published.
    if isinstance(linear, Convolution):
        s_minus = s_minus + safe_divide(negative, z_minus)
    else:
        s_plus = s_plus + safe_divide(negative, z_plus)
    c = v * (adjoint(linear, s_plus, excites) + adjoint(linear, s_minus, inhibits))
    return shift_to(c, per_sample(r, samples), samples)


def shift_to(c: Tensor, total: Tensor, samples: Samples) -> Tensor:
    """The uniform shift: subtract equally from the non-zero entries until their sum is `total` (T, N)."""
    nonzero = torch.ne(c, 0, out=torch.empty_like(c))
    surplus = per_sample(c, samples) - total
    share = safe_divide(surplus, per_sample(nonzero, samples))
    return torch.addcmul(c, nonzero, spread(share, c, samples), value=-1, out=nonzero)


def absolute_proportion(linear: Convolution | Dense, x: Tensor, r: Tensor) -> Tensor:
    """``J(|x|, |W|, R)``: what AGF's version of RAP does at a 1x1 convolution, without a shift."""
    return proportional(linear, r, (x.abs(), linear.weight.abs()), divide=one_sided)
