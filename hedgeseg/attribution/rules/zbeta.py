"""The z^B rule for the layer that reads the image, whose values lie in a box (Montavon et al. 2017)."""

from __future__ import annotations

from torch import Tensor

from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.linear import Convolution, Dense


def z_beta(linear: Convolution | Dense, x: Tensor, r: Tensor, *, batch: int) -> Tensor:
    """``x W^T s - L W+^T s - H W-^T s`` with ``s = R / (x W - L W+ - H W-)``, L and H the image's extremes.

    Computed as ``(x - L) W+^T s + (x - H) W-^T s`` and ``(x - L) W+ + (x - H) W-``: sums of one sign, without
    cancellation.

    Args:
        linear: The layer.
        x: Its input (N*m, ...): the image as the network reads it.
        r: Relevance of its output (T, N*m, ...).
        batch: N; L and H are taken per image, over all its channels and positions.

    Returns:
        Relevance of the input (T, N*m, ...).
    """
    weight = linear.weight
    positive, negative = weight.clamp(min=0), weight.clamp(max=0)
    images = x.reshape(batch, -1)
    repeats = len(x) // batch
    shape = (-1, *(1,) * (x.ndim - 1))
    low = images.amin(1).repeat_interleave(repeats).view(shape).expand_as(x)
    high = images.amax(1).repeat_interleave(repeats).view(shape).expand_as(x)
    above, below = x - low, x - high
    z = linear.forward(above, positive) + linear.forward(below, negative)
    s = safe_divide(r, z)
    rows, back = s.flatten(0, 1), s.shape[:2]
    return (
        linear.adjoint(rows, positive).unflatten(0, back) * above
        + linear.adjoint(rows, negative).unflatten(0, back) * below
    )
