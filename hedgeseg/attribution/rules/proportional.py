"""Relevance in proportion to contributions: the one formula that most propagation rules are made of.

``J(v, M, R) = v * M^T(R / (M v))`` gives entry i of the input the share ``v_i M_ji / sum_i v_i M_ji`` of the relevance
of every output j. Rules differ in what they take for v (the input, its positive part, ...) and M (the weights, their
positive part, ...), in whether several such groups share one denominator, and in what keeps that from 0.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.linear import LinearMap
from hedgeseg.attribution.samples import Samples, per_sample, spread

Division = Callable[[Tensor, Tensor], Tensor]
Group = tuple[Tensor, Tensor]


def adjoint(linear: LinearMap, s: Tensor, weight: Tensor) -> Tensor:
    """The transposed map for every target: (T, N, ...) to (T, N, ...)."""
    return linear.adjoint(s.flatten(0, 1), weight).unflatten(0, s.shape[:2])


def proportional(
    linear: LinearMap,
    r: Tensor,
    *groups: Group,
    extra: Tensor | float = 0,
    divide: Division = safe_divide,
) -> Tensor:
    """``sum_g v_g * M_g^T(R / Z)`` with ``Z = sum_g M_g v_g + extra``.

    Args:
        linear: The layer.
        r: Relevance of its output (T, N, ...).
        *groups: Pairs (v, M): inputs (N, ...) and weights in the layer's layout.
        extra: What else belongs in the denominator, such as a bias; its share of the relevance is lost.
        divide: The division, which says what becomes of a denominator at 0.

    Returns:
        Relevance of the input (T, N, ...).
    """
    z = sum((linear.forward(v, m) for v, m in groups[1:]), linear.forward(*groups[0])) + extra
    s = divide(r, z)
    first, *others = (v * adjoint(linear, s, m) for v, m in groups)
    return sum(others, first)


def one_sided(a: Tensor, b: Tensor) -> Tensor:
    """``a / (b + 1e-9)`` for b of either sign, and 0 where b is 0."""
    return safe_divide(a, (b + 1e-9) * (b != 0))


def stabilised(epsilon: float) -> Division:
    """The division ``a / (b + epsilon sign(b))``, where the sign of 0 is positive."""

    def divide(a: Tensor, b: Tensor) -> Tensor:
        return a / (b + epsilon * (1 - 2 * (b < 0).to(b.dtype)))

    return divide


def stabilised_by_scale(epsilon: float, samples: Samples) -> Division:
    """``a / (b + e sign(b))`` where e is epsilon times the root mean square of an image's b.

    An absolute epsilon absorbs everything in a network whose activations are small.
    """

    def divide(a: Tensor, b: Tensor) -> Tensor:
        entries = b.numel() // samples.batch
        mean = per_sample(b.abs()[None], samples) / entries  # first, so that squares of small numbers do not vanish
        relative = safe_divide(b[None], spread(mean, b[None], samples))
        size = mean * (per_sample(relative.square(), samples) / entries).sqrt()
        return safe_divide(a, b + epsilon * spread(size, b[None], samples)[0] * (1 - 2 * (b < 0).to(b.dtype)))

    return divide


def split(v: Tensor) -> tuple[Tensor, Tensor]:
    """Positive and negative part."""
    return v.clamp(min=0), v.clamp(max=0)
