"""The z^B rule for the layer that reads the image, whose values lie in a box (Montavon et al. 2017)."""

from __future__ import annotations

from torch import Tensor

from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.linear import Convolution, Dense
from hedgeseg.attribution.samples import Samples, by_sample, spread


def z_beta(linear: Convolution | Dense, x: Tensor, r: Tensor, *, samples: Samples) -> Tensor:
    """``x W^T s - L W+^T s - H W-^T s`` with ``s = R / (x W - L W+ - H W-)``, L and H the image's extremes.

    Computed as ``(x - L) W+^T s + (x - H) W-^T s`` and ``(x - L) W+ + (x - H) W-``: sums of one sign, without
    cancellation.

    Args:
        linear: The layer.
        x: Its input (M, ...): the image as the network reads it.
        r: Relevance of its output (T, M, ...).
        samples: Which image every row belongs to; L and H are taken per image, over all its channels and positions.

    Returns:
        Relevance of the input (T, M, ...).
    """
    weight = linear.weight
    positive, negative = weight.clamp(min=0), weight.clamp(max=0)
    images = by_sample(x, samples)
    above = x - spread(images.amin(1)[None], x[None], samples)[0]
    below = x - spread(images.amax(1)[None], x[None], samples)[0]
    z = linear.forward(above, positive) + linear.forward(below, negative)
    s = safe_divide(r, z)
    rows, back = s.flatten(0, 1), s.shape[:2]
    return (
        linear.adjoint(rows, positive).unflatten(0, back) * above
        + linear.adjoint(rows, negative).unflatten(0, back) * below
    )
