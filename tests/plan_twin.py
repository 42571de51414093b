"""A slow twin of hedging for the networks of `random_networks`.

It knows nothing of tapes: it has the plan, writes every layer as a dense matrix, and does the formulas of gradient
hedging with numpy, sample by sample and target by target.
"""

from __future__ import annotations

import numpy as np
import torch
from random_networks import Network, Shape, Step
from torch import nn


class Twin:
    """Hedging of one sample of a `Network`, from the plan alone.

    Args:
        network: The network.
        image: (C, H, W).
    """

    def __init__(self, network: Network, image: np.ndarray) -> None:
        self.plan, self.network = network.plan, network
        self.values = [image.ravel()]
        for step in self.plan.steps[1:]:
            self.values.append(self._forward(step))

    def logits(self) -> np.ndarray:
        """(K,)."""
        weight, bias = (p.detach().numpy() for p in self.network.classifier.parameters())
        return weight @ self.values[-1].reshape(self.plan.shapes[-1]).mean((1, 2)) + bias

    def hedge(self, target: int, gamma: float, residual: str) -> np.ndarray:
        """The map (H, W) of the paper's variant, its absolute mass before the sum over channels 2."""
        channels, height, width = self.plan.shapes[-1]
        gradient = self.network.classifier.weight[target].detach().numpy() / (height * width)
        weighted = (self.values[-1].reshape(channels, -1) * gradient[:, None]).ravel()
        relevance = [np.zeros(len(v)) for v in self.values]
        relevance[-1] = weighted / abs(weighted.sum()) if weighted.sum() else np.zeros(len(weighted))
        for i in range(len(self.plan.steps) - 1, 0, -1):
            self._backward(i, relevance, gamma, residual)
        r = relevance[0]
        mass = np.abs(r).sum()
        return (2 * r / mass if mass else r).reshape(self.plan.shapes[0]).sum(0)

    def _forward(self, step: Step) -> np.ndarray:
        x = self.values[step.sources[0]]
        shape = self.plan.shapes[step.sources[0]]
        if step.kind in ("add", "add_"):
            return x + self.values[step.sources[1]]
        if step.kind == "cat":
            return np.concatenate([self.values[s] for s in step.sources])
        if step.kind == "gate":
            gate = 1 / (1 + np.exp(-self.values[step.sources[1]]))
            return (x.reshape(shape[0], -1) * gate[:, None]).ravel()
        if step.kind == "conv":
            matrix, bias = conv_matrix(step.layer, shape)
            return matrix @ x + bias
        if step.kind == "average":
            return average_matrix(step.layer, shape) @ x
        if step.kind == "max":
            return x[winners(step.layer, x.reshape(shape))]
        with torch.no_grad():
            return step.layer(torch.from_numpy(x.reshape(1, *shape).copy())).numpy().ravel()

    def _backward(self, node: int, relevance: list[np.ndarray], gamma: float, residual: str) -> None:
        step, r = self.plan.steps[node], relevance[node]
        first = step.sources[0]
        x, shape = self.values[first], self.plan.shapes[first]
        if step.kind in ("add", "add_"):
            operands = [np.abs(self.values[s]) for s in step.sources]
            if residual == "main" and step.main is not None:
                shares = [np.where(step.main == k, r, 0) for k in range(2)]
            else:
                shares = [divide(r, sum(operands)) * o for o in operands]
            for source, share in zip(step.sources, shares, strict=True):
                relevance[source] += share
        elif step.kind == "cat":
            start = 0
            for source in step.sources:
                relevance[source] += r[start : start + len(relevance[source])]
                start += len(relevance[source])
        elif step.kind == "conv":
            matrix, _ = conv_matrix(step.layer, shape)
            if self.plan.pixels[first]:
                relevance[first] += z_beta(matrix, x, r)
            else:
                relevance[first] += hedge(np.abs(matrix), x, r, gamma, step.layer.kernel_size == (1, 1))
        elif step.kind == "average":
            matrix, positive = average_matrix(step.layer, shape), np.maximum(x, 0) + 1e-9
            relevance[first] += positive * (matrix.T @ divide(r, matrix @ positive))
        elif step.kind == "max":
            np.add.at(relevance[first], winners(step.layer, x.reshape(shape)), r)
        else:  # activations, batch norms, and the signal of a gate
            relevance[first] += r


def divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0)


def share(v: np.ndarray, matrix: np.ndarray, r: np.ndarray) -> np.ndarray:
    """J(v, M, R)."""
    return v * (matrix.T @ divide(r, matrix @ v))


def hedge(matrix: np.ndarray, x: np.ndarray, r: np.ndarray, gamma: float, pointwise: bool) -> np.ndarray:
    """Eq. 6-13; the matrix is |W|."""
    p, n, tau = np.maximum(r, 0), np.minimum(r, 0), np.abs(r).sum() / 2
    p = p * tau / p.sum() if p.sum() else p
    n = n * tau / -n.sum() if n.sum() else n
    plus = np.maximum(x, 0)
    c = share(plus, matrix, (1.0 if pointwise else gamma) * p) + share(plus, matrix, n)
    if not pointwise and np.any(c):
        c = np.where(c != 0, c - tau / np.count_nonzero(c), 0)
    return c + share((x > 0).astype(float), matrix, p) + share((x <= 0).astype(float), matrix, n)


def z_beta(matrix: np.ndarray, x: np.ndarray, r: np.ndarray) -> np.ndarray:
    """The rule of the layer that reads the image."""
    low, high = np.full_like(x, x.min()), np.full_like(x, x.max())
    plus, minus = np.maximum(matrix, 0), np.minimum(matrix, 0)
    s = divide(r, matrix @ x - plus @ low - minus @ high)
    return x * (matrix.T @ s) - low * (plus.T @ s) - high * (minus.T @ s)


def conv_matrix(layer: nn.Conv2d, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """The layer as (outputs, inputs), tap by tap, and its bias for every output."""
    weight = layer.weight.detach().numpy()
    (out, per_group, kh, kw), (channels, height, width) = weight.shape, shape
    (sh, sw), (ph, pw), (dh, dw) = layer.stride, layer.padding, layer.dilation
    rows, cols = (height + 2 * ph - dh * (kh - 1) - 1) // sh + 1, (width + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    matrix = np.zeros((out, rows, cols, channels, height, width))
    for o, i, j, c, u, v in np.ndindex(out, rows, cols, per_group, kh, kw):
        y, x = i * sh - ph + u * dh, j * sw - pw + v * dw
        if 0 <= y < height and 0 <= x < width:
            source = o // (out // layer.groups) * per_group + c
            matrix[o, i, j, source, y, x] += weight[o, c, u, v]
    bias = np.zeros(out) if layer.bias is None else layer.bias.detach().numpy()
    return matrix.reshape(out * rows * cols, -1), np.repeat(bias, rows * cols)


def average_matrix(layer: nn.Module, shape: Shape) -> np.ndarray:
    """An average pooling (padding counts), or the mean over all positions, as (outputs, inputs)."""
    channels, height, width = shape
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return np.kron(np.eye(channels), np.full((1, height * width), 1 / (height * width)))
    matrices = [
        [[(i * s - p <= y < i * s - p + k) / k for y in range(n)] for i in range((n + 2 * p - k) // s + 1)]
        for n, k, s, p in ((n, layer.kernel_size, layer.stride, layer.padding) for n in (height, width))
    ]
    return np.kron(np.eye(channels), np.kron(*(np.array(m, dtype=float) for m in matrices)))


def winners(layer: nn.MaxPool2d, x: np.ndarray) -> np.ndarray:
    """For every output of a max-pooling, the flat position of the (first) largest input."""
    channels, height, width = x.shape
    k, s, p = layer.kernel_size, layer.stride, layer.padding
    chosen = []
    for c, i, j in np.ndindex(channels, (height + 2 * p - k) // s + 1, (width + 2 * p - k) // s + 1):
        window = [
            (c, y, z)
            for y in range(max(0, i * s - p), min(height, i * s - p + k))
            for z in range(max(0, j * s - p), min(width, j * s - p + k))
        ]
        best = max(window, key=lambda at: x[at])
        chosen.append(np.ravel_multi_index(best, x.shape))
    return np.array(chosen)
