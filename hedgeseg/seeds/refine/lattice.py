"""Permutohedral lattice: Gaussian filtering of N points in d dimensions in time linear in N.

Source: Adams, Baek, Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", 2010. Each point is
spread over the d+1 vertices of the simplex it falls in, vertices are blurred along d+1 axes, and points are read back.

Built once per picture and kernel; `filter` is then three linear maps. Splatting and slicing are weighted sums over bags
of rows (`embedding_bag`), the points of a vertex in a fixed order: no atomic additions, so every run gives the same
result, on the CPU and on CUDA.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


class PermutohedralLattice:
    """The lattice of one set of points.

    Args:
        features: float (N, d), already divided by the standard deviations of the kernel.
    """

    def __init__(self, features: Tensor) -> None:
        self.points, self.dims = features.shape
        keys, weights = _simplices(features)
        vertices, index = _distinct(keys)
        self.vertices = len(vertices)
        self._slice = (index, weights)
        self._splat = _bags(index, weights, self.vertices)
        self._neighbours = _neighbours(vertices)
        self._scale = 1 / (1 + 2.0**-self.dims)

    def filter(self, values: Tensor) -> Tensor:
        """Sum of the values (N, L) of all points, weighted by a unit Gaussian of their distance; (N, L)."""
        rows, starts, weights = self._splat
        # One row of zeros at the end stands for every neighbour that does not exist.
        blurred = values.new_zeros(self.vertices + 1, values.shape[1])
        blurred[:-1] = F.embedding_bag(rows, values, starts, mode="sum", per_sample_weights=weights)
        for before, after in self._neighbours:
            blurred[:-1] += 0.5 * (blurred[before] + blurred[after])
        corners, weights = self._slice
        return F.embedding_bag(corners, blurred, mode="sum", per_sample_weights=weights) * self._scale


def _simplices(features: Tensor) -> tuple[Tensor, Tensor]:
    """Vertex keys int64 (N, d+1, d) and barycentric weights (N, d+1) of the simplex around each point."""
    points, dims = features.shape
    elevated = _elevate(features)
    # The nearest point of the lattice of multiples of d+1, then the order of the residuals (Adams 2010, section 3.2).
    base = (dims + 1) * torch.floor(elevated / (dims + 1) + 0.5)
    excess = (base.sum(1, keepdim=True) / (dims + 1)).round().long()
    order = torch.sort(elevated - base, dim=1, descending=True, stable=True).indices
    rank = torch.empty_like(order)
    rank.scatter_(1, order, torch.arange(dims + 1, device=features.device).expand(points, -1))
    rank = rank + excess
    below, above = rank < 0, rank > dims
    base = base + (dims + 1) * (below.to(base.dtype) - above.to(base.dtype))
    rank = rank + (dims + 1) * (below.long() - above.long())

    residual = (elevated - base) / (dims + 1)
    weights = residual.new_zeros(points, dims + 2)
    weights.scatter_add_(1, dims - rank, residual)
    weights.scatter_add_(1, dims + 1 - rank, -residual)
    weights[:, 0] += 1 + weights[:, dims + 1]

    corner = torch.arange(dims + 1, device=features.device).view(1, -1, 1)
    offset = torch.where(rank[:, None] <= dims - corner, corner, corner - (dims + 1))
    keys = base.long()[:, None] + offset
    # The last coordinate is minus the sum of the others.
    return keys[..., :dims], weights[:, : dims + 1].contiguous()


def _elevate(features: Tensor) -> Tensor:
    """Points of d dimensions on the hyperplane of d+1 coordinates that sum to zero (N, d+1)."""
    points, dims = features.shape
    scale = [math.sqrt(2 / 3) * (dims + 1) / math.sqrt((i + 1) * (i + 2)) for i in range(dims)]
    scaled = features * features.new_tensor(scale)
    elevated = features.new_zeros(points, dims + 1)
    tail = features.new_zeros(points)
    for j in range(dims, 0, -1):
        coordinate = scaled[:, j - 1]
        elevated[:, j] = tail - j * coordinate
        tail = tail + coordinate
    elevated[:, 0] = tail
    return elevated


def _distinct(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct vertices (M, d), sorted, and the row of each point's vertices among them (N, d+1)."""
    low, span = _ranges(keys.reshape(-1, keys.shape[-1]))
    packed, index = torch.unique(_pack(keys, low, span), return_inverse=True)
    return _unpack(packed, low, span), index


def _neighbours(vertices: Tensor) -> list[tuple[Tensor, Tensor]]:
    """For each of the d+1 axes, the rows of the vertices before and after; M where there is none."""
    count, dims = vertices.shape
    low, span = _ranges(vertices)
    packed = _pack(vertices, low, span)

    def rows(step: Tensor) -> Tensor:
        wanted = _pack(vertices + step, low, span)
        found = torch.searchsorted(packed, wanted).clamp(max=count - 1)
        return torch.where(packed[found] == wanted, found, count)

    pairs = []
    for axis in range(dims + 1):
        step = torch.full((dims,), 1, dtype=torch.int64, device=vertices.device)
        if axis < dims:
            step[axis] = -dims
        pairs.append((rows(-step), rows(step)))
    return pairs


def _ranges(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest coordinate and extent per dimension, with room for a step of d beyond either end."""
    dims = keys.shape[-1]
    low = keys.amin(0) - dims - 1
    span = keys.amax(0) + dims + 2 - low
    if math.prod(span.tolist()) >= 2**62:
        raise ValueError(
            f"a lattice of {span.tolist()} cells per axis is too fine to index; use larger kernel widths (sxy, srgb)"
        )
    return low, span


def _pack(keys: Tensor, low: Tensor, span: Tensor) -> Tensor:
    packed = torch.zeros_like(keys[..., 0])
    for axis in range(keys.shape[-1]):
        packed = packed * span[axis] + (keys[..., axis] - low[axis])
    return packed


def _unpack(packed: Tensor, low: Tensor, span: Tensor) -> Tensor:
    columns: list[Tensor] = []
    for axis in range(len(span) - 1, -1, -1):
        columns.append(packed % span[axis] + low[axis])
        packed = packed // span[axis]
    return torch.stack(columns[::-1], dim=1)


def _bags(index: Tensor, weights: Tensor, vertices: int) -> tuple[Tensor, Tensor, Tensor]:
    """The points that touch each vertex, vertex after vertex: their rows, where each bag starts, their weights."""
    order = torch.sort(index.flatten(), stable=True).indices
    counts = torch.bincount(index.flatten(), minlength=vertices)
    starts = counts.cumsum(0) - counts
    return order // index.shape[1], starts, weights.flatten()[order]
