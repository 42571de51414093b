"""Relative sectional propagation: relevance divided by what activations and relevance share (Nam et al. 2021).

The weights of hidden layers play no part. What a layer's weights would learn from its input and the relevance of one
sign, ``V = d<x+ W, P> / dW``, takes their place:

    C_P = x+ * V_P^T(P / (x+ V_P)),   C_N likewise from N = -R-,   C = 2 (C_P - C_N) shifted to the sum of R

1x1 convolutions and fully connected layers take ``C_P - C_N``, without factor and shift.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.linear import Convolution, Dense
from hedgeseg.attribution.rules.rap import shift_to
from hedgeseg.attribution.samples import Samples, by_sample, per_sample, spread

OFFSET = 1e-9


def sectional(linear: Convolution | Dense, x: Tensor, r: Tensor, *, samples: Samples) -> Tensor:
    """The rule for one hidden layer.

    Args:
        linear: The layer.
        x: Its input (M, ...); negative values are ignored.
        r: Relevance of its output (T, M, ...).
        samples: Which image every row belongs to.

    Returns:
        Relevance of the input (T, M, ...).
    """
    positive, negative = r.clamp(min=0), (-r).clamp(min=0)
    v = x.clamp(min=0)
    c = _by_own_weights(linear, v, positive) - _by_own_weights(linear, v, negative)
    if not isinstance(linear, Convolution) or all(k == 1 for k in linear.kernel):
        return c
    return shift_to(2 * c, per_sample(r, samples), samples)


def _by_own_weights(linear: Convolution | Dense, v: Tensor, p: Tensor) -> Tensor:
    # Every sample and target has weights of its own, so they can't share a convolution.
    out = v.new_empty(len(p), *v.shape)
    for t in range(len(p)):
        for n in range(len(v)):
            x, r = v[n : n + 1], p[t, n : n + 1]
            weight = linear.weight_gradient(x, r)
            out[t, n] = x[0] * linear.adjoint(safe_divide(r, linear.forward(x, weight)), weight)[0]
    return out


def relative_start(maps: Tensor, samples: Samples) -> Tensor:
    """Each label's map against those of the image's other labels.

    Args:
        maps: One map per label (T, M, C, *space).
        samples: Which image every row belongs to.

    Returns:
        ``(T - 1) G_t - sum of the others``, channel-summed with both signs of equal mass, then the positive part scaled
        to 2 and the negative to -1, spread evenly over the channels.
    """
    relative = len(maps) * maps - maps.sum(0)
    signs = [
        _unit_mass(relative.clamp(min=0), samples),
        _unit_mass(relative.clamp(max=0), samples),
    ]
    summed = (signs[0] - signs[1]).sum(2, keepdim=True)
    halves = 2 * _unit_mass(summed.clamp(min=0), samples) - _unit_mass(summed.clamp(max=0), samples)
    return (halves / maps.shape[2]).expand_as(maps)


def _unit_mass(part: Tensor, samples: Samples) -> Tensor:
    """A part of one sign divided by its sum: >= 0, of mass 1."""
    total = per_sample(part, samples)
    return safe_divide(part, spread(total, part, samples).expand_as(part))


def peak_normalised(maps: Tensor, samples: Samples) -> Tensor:
    """Each image's map divided by its largest entry; by its largest absolute one where none is positive.

    Args:
        maps: (T, M, C, *space).
        samples: Which image every row belongs to.
    """
    if not len(maps):
        return maps
    entries = torch.stack([by_sample(m, samples) for m in maps])
    peak = entries.amax(-1)
    peak = torch.where(peak > 0, peak, entries.abs().amax(-1))
    return maps / spread(peak + OFFSET, maps, samples)
