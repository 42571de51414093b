"""Attribution guided factorisation: relevance moved about by what input and gradient have in common (Gur et al. 2021).

Two streams are propagated: relevance phi and the true gradient g. With ``J(v, M, R) = v * M^T(R / (M v))``, a layer
gives ``C = J(|x|, |W|, phi)``, to which a residual of sum 0 is added on the non-zero entries of C:

    M = relu(mean_c(x g)) / max                        what gradient times input says about a position
    A = J(1, |W|, phi)                                  the layer's reach, without the input
    F(x), F(W^T g)                                      factorisations (`factorise`), by C's sign
    residual = (F(x) + M) / (1 + exp(-C)) + F(W^T g) + A

A division is ``a / (b + 1e-9)``, as in the authors' code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.linear import Convolution, Dense
from hedgeseg.attribution.rules.proportional import adjoint, one_sided, proportional


def plain(linear: Convolution | Dense, x: Tensor, phi: Tensor) -> Tensor:
    """``J(|x|, |W|, phi)``: 1x1 convolutions and fully connected layers."""
    return proportional(linear, phi, (x.abs(), linear.weight.abs()), divide=one_sided)


def guided_factorisation(linear: Convolution | Dense, x: Tensor, phi: Tensor, g: Tensor, g_in: Tensor) -> Tensor:
    """The rule for a convolution (Eq. 8-16).

    Args:
        linear: The layer.
        x: Its input (N, C, *space).
        phi: Relevance of its output (T, N, ...).
        g: Gradient at its output (T, N, ...).
        g_in: Gradient at its input through this layer alone (T, N, C, *space).

    Returns:
        Relevance of the input (T, N, C, *space), of the same sum as phi.
    """
    c = plain(linear, x, phi)
    reach = proportional(linear, phi, (torch.ones_like(x), linear.weight.abs()), divide=one_sided)
    masked = adjoint(linear, g * (phi != 0), linear.weight)
    from_input = factorise(x.expand_as(c), c) + input_gradient(x, g_in)
    residual = from_input * torch.sigmoid(c) + factorise(masked, c) + reach
    return shift(c, residual * (c != 0))


def through_flattening(linear: Convolution | Dense, x: Tensor, phi: Tensor, g_in: Tensor, shape: torch.Size) -> Tensor:
    """The rule for a fully connected layer that reads a flattened feature map.

    Args:
        linear: The layer.
        x: Its input (N, C*H*W).
        phi: Relevance of its output (T, N, K).
        g_in: Gradient at its input (T, N, C*H*W).
        shape: The feature map's, (N, C, *space).

    Returns:
        Relevance of the input (T, N, C*H*W).
    """
    c = plain(linear, x, phi)
    by_position = input_gradient(x.view(shape), g_in.view(len(g_in), *shape)).expand(len(g_in), *shape)
    return shift(c, by_position.reshape(c.shape) * (c != 0))


def shift(c: Tensor, m: Tensor) -> Tensor:
    """``C + M - sum(M) / nz(C)`` on the non-zero entries of C: moves relevance and keeps its sum."""
    nonzero = c != 0
    share = safe_divide(_total(m), _total(nonzero.to(c.dtype)))
    return c + (m - share) * nonzero


def input_gradient(x: Tensor, g: Tensor) -> Tensor:
    """``relu(mean_c(x g))`` divided by its maximum: (T, N, 1, *space)."""
    m = (x * g).mean(2, keepdim=True).clamp(min=0)
    return one_sided(m, _peak(m))


def factorise(reference: Tensor, c: Tensor) -> Tensor:
    """Which positions look like those of positive rather than of negative relevance (Eq. 9-12).

    Every position's channels ``S = sigmoid(10 reference / max)`` are explained by two prototypes, the mean S over
    positions where the mean of C is negative and over those where it is positive, by ridge regression; the result is
    by how much the positive one prevails.

    Args:
        reference: (T, N, C, *space).
        c: (T, N, C, *space).

    Returns:
        (T, N, 1, *space), at least 0.
    """
    s = torch.sigmoid(10 * one_sided(reference, _peak(reference))).flatten(3)
    mean = c.mean(2, keepdim=True).flatten(3)
    b = torch.cat([_prototype(s, mean < 0), _prototype(s, mean > 0)], dim=-1)  # (T, N, C, 2)
    ridge = b.mT @ b + torch.eye(2, dtype=b.dtype, device=b.device)
    weights = torch.linalg.solve(ridge, b.mT @ s).clamp(min=0)  # (T, N, 2, positions)
    prevails = (weights[..., 1:, :] - weights[..., :1, :]).clamp(min=0)
    return prevails.view(*c.shape[:2], 1, *c.shape[3:])


def _prototype(s: Tensor, chosen: Tensor) -> Tensor:
    """Mean of S (T, N, C, positions) over the chosen positions: (T, N, C, 1); 0 where there are none."""
    count = chosen.sum(-1, keepdim=True).to(s.dtype)
    return safe_divide((s * chosen).sum(-1, keepdim=True), count.expand(*s.shape[:3], 1))


def _total(v: Tensor) -> Tensor:
    """Per-sample sums, broadcastable against (T, N, ...)."""
    total = v.flatten(2).sum(-1)
    return total.view(*total.shape, *(1,) * (v.ndim - 2))


def _peak(v: Tensor) -> Tensor:
    """Per-sample maxima, broadcastable against (T, N, ...)."""
    peak = v.flatten(2).amax(-1)
    return peak.view(*peak.shape, *(1,) * (v.ndim - 2))
