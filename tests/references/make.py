"""Makes the reference maps of this folder: a small network and its explanations in NumPy, float64, with loops.

    python tests/references/make.py

It shares no code with hedgeseg: every layer is written out as a dense matrix and every rule as its formula, so that
what the engine gives can be compared with what the papers say. The files are small enough to be kept beside it.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
SIZE, WIDTHS, CLASSES = 8, (3, 4, 5), 3


def convolution(weight: np.ndarray, size: int) -> np.ndarray:
    """A 3x3 convolution with padding 1 as a matrix (outputs, inputs) of channels x size x size."""
    out, inside = weight.shape[:2]
    matrix = np.zeros((out, size, size, inside, size, size))
    for row in range(size):
        for column in range(size):
            for i in range(3):
                for j in range(3):
                    y, x = row + i - 1, column + j - 1
                    if 0 <= y < size and 0 <= x < size:
                        matrix[:, row, column, :, y, x] += weight[:, :, i, j]
    return matrix.reshape(out * size * size, inside * size * size)


def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a / b``, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0)


def share(v: np.ndarray, matrix: np.ndarray, r: np.ndarray) -> np.ndarray:
    """``J(v, M, R) = v * M^T(R / (M v))``."""
    return v * (matrix.T @ ratio(r, matrix @ v))


def hedge(matrix: np.ndarray, x: np.ndarray, r: np.ndarray, gamma: float) -> np.ndarray:
    """Eq. 6-13 of the paper, with tau half of the absolute relevance that arrives."""
    weight, tau = np.abs(matrix), np.abs(r).sum() / 2
    positive, negative = np.maximum(r, 0), np.minimum(r, 0)
    positive = positive * tau / positive.sum() if positive.any() else positive
    negative = negative * tau / -negative.sum() if negative.any() else negative
    gains = np.maximum(x, 0)
    c = share(gains, weight, gamma * positive) + share(gains, weight, negative)
    c = c - (c != 0) * tau / max(1, (c != 0).sum())
    return c + share((x > 0) * 1.0, weight, positive) + share((x <= 0) * 1.0, weight, negative)


def z_box(matrix: np.ndarray, x: np.ndarray, r: np.ndarray) -> np.ndarray:
    """The z^B rule (Montavon et al. 2017) within the extremes of the image."""
    low, high = np.full_like(x, x.min()), np.full_like(x, x.max())
    plus, minus = np.maximum(matrix, 0), np.minimum(matrix, 0)
    s = ratio(r, matrix @ x - plus @ low - minus @ high)
    return x * (matrix.T @ s) - low * (plus.T @ s) - high * (minus.T @ s)


def epsilon(matrix: np.ndarray, x: np.ndarray, r: np.ndarray, bias: np.ndarray, e: float) -> np.ndarray:
    """LRP-epsilon, with e in units of the root mean square of the denominators."""
    z = matrix @ x + bias
    z = z + e * np.sqrt((z**2).mean()) * np.where(z < 0, -1, 1)
    return x * (matrix.T @ ratio(r, z))


def pool(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Max-pooling by 2 of (C, H, W), and the flat index of every winner."""
    channels, size, _ = x.shape
    out, winner = np.zeros((channels, size // 2, size // 2)), np.zeros((channels, size // 2, size // 2), dtype=int)
    for c in range(channels):
        for row in range(size // 2):
            for column in range(size // 2):
                window = x[c, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                i, j = divmod(int(window.argmax()), 2)
                out[c, row, column] = window[i, j]
                winner[c, row, column] = (c * size + 2 * row + i) * size + 2 * column + j
    return out, winner


def main() -> None:
    """Write the network, two images and their maps."""
    g = np.random.default_rng(0)
    first, second = (g.normal(size=(o, i, 3, 3)) / 4 for i, o in pairwise(WIDTHS))
    bias_1, bias_2 = (g.normal(size=o) / 10 for o in WIDTHS[1:])
    head, bias_3 = g.normal(size=(CLASSES, WIDTHS[-1])), g.normal(size=CLASSES) / 10
    images = g.normal(size=(2, WIDTHS[0], SIZE, SIZE))
    a, b, half = convolution(first, SIZE), convolution(second, SIZE // 2), SIZE // 2
    logits, grad_cam, hedged, lrp = [], [], [], []
    for image in images:
        x = image.ravel()
        inner = np.maximum(a @ x + np.repeat(bias_1, SIZE**2), 0)
        pooled, winner = pool(inner.reshape(WIDTHS[1], SIZE, SIZE))
        v = pooled.ravel()
        z = b @ v + np.repeat(bias_2, half**2)
        last = np.maximum(z, 0)
        mean = last.reshape(WIDTHS[2], -1).mean(1)
        y = head @ mean + bias_3
        logits.append(y)
        for target in range(CLASSES):
            start = last * np.repeat(head[target] / half**2, half**2)  # Eq. 4-5: the gradient of the mean is constant
            grad_cam.append(start.reshape(WIDTHS[2], half, half).sum(0))
            for gamma in (1.0, 1.5):
                r = hedge(b, v, start / abs(start.sum()), gamma)
                below = np.zeros(inner.size)
                np.add.at(below, winner.ravel(), r)
                r = z_box(a, x, below)
                hedged.append((2 * r / np.abs(r).sum()).reshape(WIDTHS[0], SIZE, SIZE).sum(0))
            top = np.zeros(CLASSES)
            top[target] = y[target]
            r = epsilon(head, mean, top, bias_3, 1e-6)
            positive = last + 1e-9  # the engine's division of an average, by positive parts
            sums = positive.reshape(WIDTHS[2], -1).sum(1)
            r = epsilon(b, v, positive * np.repeat(r / sums, half**2), np.repeat(bias_2, half**2), 1e-6)
            below = np.zeros(inner.size)
            np.add.at(below, winner.ravel(), r)
            r = epsilon(a, x, below, np.repeat(bias_1, SIZE**2), 1e-6)
            lrp.append(r.reshape(WIDTHS[0], SIZE, SIZE).sum(0))
    np.savez_compressed(
        HERE / "chain.npz",
        first=first, bias_1=bias_1, second=second, bias_2=bias_2, head=head, bias_3=bias_3, images=images,
        logits=np.stack(logits), grad_cam=np.stack(grad_cam).reshape(2, CLASSES, half, half),
        hedge=np.stack(hedged).reshape(2, CLASSES, 2, SIZE, SIZE),
        lrp_epsilon=np.stack(lrp).reshape(2, CLASSES, SIZE, SIZE),
    )  # fmt: skip


if __name__ == "__main__":
    main()
