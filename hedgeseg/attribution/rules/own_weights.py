"""What a layer would learn from its input and the relevance of one sign, in the place of its own weights.

Every sample and target has weights of its own, ``V = d<x W, P> / dW``, so they can't share a call. The two signs of a
relevance read the same input, though, and are done as one layer with twice as many outputs.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hedgeseg.attribution.rules.linear import Convolution, Dense, Mixing

# Entries of what a 1x1 convolution puts out that are worked on at once: they stay in a processor's cache.
BLOCK = 1 << 17


def difference_of_signs(linear: Convolution | Dense, x: Tensor, r: Tensor) -> Tensor:
    """``C_P - C_N`` with ``C_P = x V_P^T(P / (x V_P))`` of the positive part P of the relevance, C_N of the negative.

    Args:
        linear: The layer.
        x: Its input, >= 0: one sample (1, ...).
        r: Relevance of its output (1, ...).

    Returns:
        As `x`.
    """
    if isinstance(linear, Mixing):
        return _of_one_sign(linear, x, r.clamp(min=0)) - _of_one_sign(linear, x, r.neg().clamp_(min=0))
    if not isinstance(linear, Convolution):
        return _stacked(replace(linear, weight=torch.cat([linear.weight] * 2, -1)), x, r, -1)
    if linear.mixes_channels and x.device.type == "cpu":
        return _at_places(x[0].flatten(1), r[0].flatten(1)).view_as(x)
    outputs = int(linear.transposed and linear.groups == 1)
    both = replace(linear, weight=torch.cat([linear.weight] * 2, outputs))
    if linear.groups == 1:
        return _stacked(both, x, r, 1)
    # Groups can't have more outputs without losing what makes them fast, so there are more groups.
    n, channels, *space = linear.input_shape
    both = replace(both, groups=2 * linear.groups, input_shape=(n, 2 * channels, *space))
    positive, negative = _stacked(both, torch.cat([x, x], 1), r, 1).chunk(2, 1)
    return positive + negative


def _stacked(both: Convolution | Dense, x: Tensor, r: Tensor, dim: int) -> Tensor:
    """The layer whose outputs are those of the positive sign, and behind them those of the negative."""
    p = _both_signs(r, dim)
    weight = both.weight_gradient(x, p)
    s = _divide_(p, both.forward(x, weight))
    s.chunk(2, dim)[1].neg_()
    return both.adjoint(s, weight).mul_(x)


def _at_places(x: Tensor, r: Tensor) -> Tensor:
    """A 1x1 convolution: x (channels, places), r (outputs, places)."""
    places = max(64, BLOCK // (2 * len(r)))
    xs, rs = x.split(places, 1), r.split(places, 1)
    weight = x.new_zeros(2 * len(r), len(x))
    for part, arriving in zip(xs, rs, strict=True):
        weight.addmm_(_both_signs(arriving, 0), part.T)
    signed = weight.clone()
    signed[len(r) :].neg_()
    out = torch.empty_like(x)
    for part, arriving, of in zip(xs, rs, out.split(places, 1), strict=True):
        s = _divide_(_both_signs(arriving, 0), weight @ part)
        torch.mul(signed.T @ s, part, out=of)
    return out


def _of_one_sign(linear: Mixing, x: Tensor, p: Tensor) -> Tensor:
    weight = linear.weight_gradient(x, p)
    return x * linear.adjoint(_divide_(p, linear.forward(x, weight)), weight)


def _both_signs(r: Tensor, dim: int) -> Tensor:
    """Positive and negative part, both >= 0, one behind the other along `dim`."""
    shape = list(r.shape)
    shape[dim] *= 2
    both = r.new_empty(shape)
    positive, negative = both.chunk(2, dim)
    torch.clamp(r, min=0, out=positive)
    torch.clamp(r, max=0, out=negative).neg_()
    return both


def _divide_(a: Tensor, b: Tensor) -> Tensor:
    """``a / b`` for b >= 0, and 0 where b is 0; in place, and not a number stays that."""
    return a.div_(torch.threshold_(b, 0.0, torch.inf))
