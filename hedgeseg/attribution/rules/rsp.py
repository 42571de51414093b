"""Relative sectional propagation: relevance divided by what activations and relevance share (Nam et al. 2021).

The weights of hidden layers play no part. What a layer's weights would learn from its input and the relevance of one
sign, ``V = d<x+ W, P> / dW``, takes their place:

    C_P = x+ * V_P^T(P / (x+ V_P)),   C_N likewise from N = -R-,   C = 2 (C_P - C_N) shifted to the sum of R

1x1 convolutions and fully connected layers take ``C_P - C_N``, without factor and shift.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.linear import Convolution, Dense
from hedgeseg.attribution.rules.own_weights import difference_of_signs
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
    v = x.clamp(min=0)
    c = v.new_empty(len(r), *v.shape)
    for t in range(len(r)):
        for n in range(len(v)):
            c[t, n] = difference_of_signs(linear, v[n : n + 1], r[t, n : n + 1])[0]
    if not isinstance(linear, Convolution) or all(k == 1 for k in linear.kernel):
        return c
    return shift_to(c.mul_(2), per_sample(r, samples), samples)


def relative_start(maps: Sequence[Tensor], samples: Sequence[Samples]) -> list[Tensor]:
    """Each label's map against those of the image's other labels.

    Args:
        maps: For each layer one map per label (T, M, C, *space).
        samples: For each layer, which image every row belongs to.

    Returns:
        ``(T - 1) G_t - sum of the others``, channel-summed with both signs of equal mass, then the positive part scaled
        to 2 and the negative to -1, spread evenly over the channels; masses are those of all layers together.
    """
    relative = [len(m) * m - m.sum(0) for m in maps]
    signs = (
        _unit_mass([r.clamp(min=0) for r in relative], samples),
        _unit_mass([r.clamp(max=0) for r in relative], samples),
    )
    summed = [(p - n).sum(2, keepdim=True) for p, n in zip(*signs, strict=True)]
    positive = _unit_mass([s.clamp(min=0) for s in summed], samples)
    negative = _unit_mass([s.clamp(max=0) for s in summed], samples)
    return [((2 * p - n) / m.shape[2]).expand_as(m) for p, n, m in zip(positive, negative, maps, strict=True)]


def _unit_mass(parts: Sequence[Tensor], samples: Sequence[Samples]) -> list[Tensor]:
    """Parts of one sign divided by their sum: >= 0, of mass 1."""
    total = sum(per_sample(part, s) for part, s in zip(parts, samples, strict=True))
    assert isinstance(total, Tensor)
    return [safe_divide(part, spread(total, part, s).expand_as(part)) for part, s in zip(parts, samples, strict=True)]


def peak_normalised(maps: Sequence[Tensor], samples: Sequence[Samples]) -> list[Tensor]:
    """Each image's map divided by its largest entry; by its largest absolute one where none is positive.

    Args:
        maps: For each layer (T, M, C, *space).
        samples: For each layer, which image every row belongs to.

    Returns:
        The maps of every layer, divided by the largest entry of all layers.
    """
    if not len(maps[0]):
        return list(maps)
    of_image = [torch.stack([by_sample(m, s) for m in layer]) for layer, s in zip(maps, samples, strict=True)]
    entries = torch.cat(of_image, -1)
    peak = entries.amax(-1)
    peak = torch.where(peak > 0, peak, entries.abs().amax(-1))
    return [m / spread(peak + OFFSET, m, s) for m, s in zip(maps, samples, strict=True)]
