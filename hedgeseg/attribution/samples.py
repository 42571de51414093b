"""Which image of a batch every entry of a tensor belongs to, and sums that never couple two images.

A network need not keep its images in dimension 0, one after the other: it may stack flips or crops behind each other,
cut images into windows, put the sequence first or the heads into the batch. What all of these have in common is that
one dimension holds the images as one digit of its index; `Samples` says which dimension and which digit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Samples:
    """Where the images are in a tensor: entry i along dimension `dim` belongs to image ``(i // inner) % batch``.

    The dimension then has ``outer * batch * inner`` entries, and an image as many *copies* of everything else as
    ``outer * inner``: 1 in a plain network, the flips and crops stacked in front of the images (outer), the windows or
    patches that an image was cut into (inner).

    Attributes:
        batch: N, the number of images.
        dim: The dimension that holds them; `NOWHERE` where a single image was taken out of its batch.
        inner: How many neighbouring entries belong to one image.
    """

    batch: int
    dim: int = 0
    inner: int = 1

    def fits(self, shape: torch.Size | tuple[int, ...]) -> bool:
        """Whether a tensor of this shape can have its images there."""
        if self.dim == NOWHERE:
            return self.batch == 1
        return 0 <= self.dim < len(shape) and shape[self.dim] % (self.batch * self.inner) == 0

    def copies(self, shape: torch.Size | tuple[int, ...]) -> int:
        """How many entries of the dimension belong to one image; 1 of a number, which has no dimensions."""
        return shape[self.dim] // self.batch if shape and self.dim != NOWHERE else 1

    def labels(self, size: int, device: torch.device | None = None) -> Tensor:
        """The image of every entry of the dimension, which has `size`: int64 (size,)."""
        return torch.arange(size, device=device) // self.inner % self.batch

    def moved(self, by: int) -> Samples:
        """The same digit in a dimension further right (or left, if negative)."""
        return self if self.dim == NOWHERE else Samples(self.batch, self.dim + by, self.inner)

    def with_dimension(self, dim: int) -> Samples:
        """The images after a dimension of size 1, or of images, was added as `dim`."""
        if self.dim == NOWHERE:
            return Samples(self.batch) if dim == 0 else self
        return self.moved(int(dim <= self.dim))


def per_sample(r: Tensor, samples: Samples, dtype: torch.dtype | None = None) -> Tensor:
    """Sum of every image's entries, in `dtype`: (T, *shape) to (T, N)."""
    if samples.batch == 1:
        return r.sum(tuple(range(1, r.ndim)), dtype=dtype)[:, None]
    digits = r.unflatten(samples.dim + 1, (-1, samples.batch, samples.inner))
    kept = (0, samples.dim + 2)
    return digits.sum(tuple(d for d in range(digits.ndim) if d not in kept), dtype=dtype)


def spread(s: Tensor, like: Tensor, samples: Samples) -> Tensor:
    """Per-image numbers (T, N) in a shape that broadcasts against `like` (T, *shape)."""
    if samples.batch == 1:
        return s.view(len(s), *(1,) * (like.ndim - 1))
    dim = samples.dim + 1
    if like.shape[dim] != samples.batch:
        if samples.inner > 1:
            s = s.repeat_interleave(samples.inner, dim=1)
        s = s.repeat(1, like.shape[dim] // s.shape[1])
    shape = [1] * like.ndim
    shape[0], shape[dim] = len(s), s.shape[1]
    return s.view(shape)


def by_sample(x: Tensor, samples: Samples) -> Tensor:
    """A tensor's entries, image by image: (*shape) to (N, entries of an image)."""
    if samples.batch == 1:
        return x.reshape(1, -1)
    digits = x.unflatten(samples.dim, (-1, samples.batch, samples.inner))
    return digits.movedim(samples.dim + 1, 0).reshape(samples.batch, -1)
