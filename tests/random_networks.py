"""Small random CNNs for property tests: drawn as a plan, run as an unremarkable module, explained by a slow twin.

The twin knows nothing of tapes: it has the plan, writes every layer as a dense matrix, and does the formulas of
gradient hedging with numpy, sample by sample and target by target.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

Shape = tuple[int, int, int]


@dataclass
class Step:
    """One node of a plan: what makes it from which earlier nodes (0 is the image)."""

    kind: str
    sources: tuple[int, ...]
    layer: nn.Module | None = None
    reads: tuple[int, ...] = ()  # the variables that the module's code names, where a write in place renamed a value
    main: int | None = None  # of a sum: the operand with the convolutions, None for a tie


@dataclass
class Plan:
    """A network without its classifier."""

    steps: list[Step] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    pixels: list[bool] = field(default_factory=list)

    def add(self, kind: str, sources: tuple[int, ...], shape: Shape, layer: nn.Module | None = None, **more) -> int:
        """Append a step; returns the number of its node."""
        self.steps.append(Step(kind, sources, layer, more.get("reads", sources), more.get("main")))
        self.shapes.append(shape)
        self.pixels.append(kind != "conv" and all(self.pixels[s] for s in sources))
        return len(self.steps) - 1


class Network(nn.Module):
    """The plan as somebody would have written it: functional sums, concatenations, gates and writes in place."""

    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__()
        self.plan = plan
        self.layers = nn.ModuleList([s.layer if s.layer is not None else nn.Identity() for s in plan.steps])
        self.classifier = nn.Linear(plan.shapes[-1][0], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = [x]
        for step, layer in zip(self.plan.steps[1:], self.layers[1:], strict=True):
            read = [made[i] for i in step.reads]
            if step.kind == "add":
                made.append(read[0] + read[1])
            elif step.kind == "add_":
                made.append(read[0].add_(read[1]))
            elif step.kind == "cat":
                made.append(torch.cat(read, 1))
            elif step.kind == "gate":
                made.append(read[0] * torch.sigmoid(read[1]))
            else:
                made.append(layer(read[0]))
        return self.classifier(made[-1].mean((2, 3)))


class Sketch:
    """Draws a plan step by step; every block returns its last node and the weighted operations on its longest path."""

    def __init__(self, draw, size: tuple[int, int], channels: int) -> None:
        self.draw, self.plan = draw, Plan()
        self.plan.add("image", (), (channels, *size))

    def network(self, blocks: int) -> Plan:
        x = 0
        if self.draw(st.booleans()):
            x, _ = self.convolution(x)
        for _ in range(blocks):
            x, _ = self.block(x, nested=False)
        if self.plan.pixels[x]:
            x, _ = self.convolution(x)
        x, _ = self.convolution(x)
        # The feature map: the ReLU that enters the mean.
        self.plan.add("relu", (x,), self.plan.shapes[x], nn.ReLU())
        return self.plan

    def block(self, x: int, nested: bool) -> tuple[int, int]:
        kinds = ["convolution", "relu", "norm", "max", "average", "reuse"]
        if not nested:
            kinds += ["residual", "branches", "gated"] * 2
        return getattr(self, self.draw(st.sampled_from(kinds)))(x)

    def convolution(self, x: int, out: int | None = None, same: bool = False) -> tuple[int, int]:
        channels, height, width = self.plan.shapes[x]
        groups = self.draw(st.sampled_from([1, 1, channels]))
        out = out or self.draw(st.sampled_from([2, 3, 4]))
        if out % groups:
            groups = 1
        kernel = tuple(self.draw(st.sampled_from([1, 3] if same else [1, 2, 3])) for _ in range(2))
        dilation = tuple(self.draw(st.sampled_from([1, 1, 2])) for _ in range(2))
        reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if same:
            padding, stride = tuple(r // 2 for r in reach), (1, 1)
        else:
            padding = tuple(
                self.draw(st.integers((r + 1) // 2 if n <= r else 0, r))
                for n, r in zip((height, width), reach, strict=True)
            )
            stride = tuple(self.draw(st.sampled_from([1, 1, 2, 3])) for _ in range(2))
        layer = nn.Conv2d(
            channels, out, kernel, stride, padding, dilation, groups, bias=self.draw(st.booleans()), dtype=torch.float64
        )
        space = (
            (n + 2 * p - r - 1) // s + 1 for n, p, r, s in zip((height, width), padding, reach, stride, strict=True)
        )
        return self.plan.add("conv", (x,), (out, *space), layer), 1

    def relu(self, x: int) -> tuple[int, int]:
        layer = self.draw(st.sampled_from([nn.ReLU(), nn.ReLU(inplace=True), nn.SiLU(), nn.Hardswish()]))
        return self.plan.add("relu", (x,), self.plan.shapes[x], layer), 0

    def norm(self, x: int) -> tuple[int, int]:
        layer = nn.BatchNorm2d(self.plan.shapes[x][0], dtype=torch.float64).eval()
        return self.plan.add("norm", (x,), self.plan.shapes[x], layer), 0

    def max(self, x: int) -> tuple[int, int]:
        return self._pool(x, "max", nn.MaxPool2d)

    def average(self, x: int) -> tuple[int, int]:
        return self._pool(x, "average", nn.AvgPool2d)

    def _pool(self, x: int, kind: str, make) -> tuple[int, int]:
        channels, height, width = self.plan.shapes[x]
        kernel = self.draw(st.integers(1, min(3, height, width)))
        stride, padding = self.draw(st.integers(1, 2)), self.draw(st.integers(0, kernel // 2))
        space = ((n + 2 * padding - kernel) // stride + 1 for n in (height, width))
        return self.plan.add(kind, (x,), (channels, *space), make(kernel, stride, padding)), 0

    def reuse(self, x: int) -> tuple[int, int]:
        """One module called twice."""
        first, _ = self.convolution(x, out=self.plan.shapes[x][0], same=True)
        layer = self.plan.steps[first].layer
        return self.plan.add("conv", (first,), self.plan.shapes[first], layer), 2

    def branch(self, x: int, out: int) -> tuple[int, int]:
        """A path that keeps the size."""
        depth = 0
        for _ in range(self.draw(st.integers(1, 2))):
            x, more = self.convolution(x, out=out, same=True)
            depth += more
            if self.draw(st.booleans()):
                x, _ = self.relu(x)
        return x, depth

    def residual(self, x: int) -> tuple[int, int]:
        channels = self.plan.shapes[x][0]
        name = x  # the variable that the module's code has for the shortcut
        if self.draw(st.booleans()):
            # A pre-activation in place: the shortcut then reads what was overwritten.
            x = self.plan.add("relu", (x,), self.plan.shapes[x], nn.ReLU(inplace=True))
        out = self.draw(st.sampled_from([channels, 2]))
        main, depth = self.branch(x, out)
        shortcut, short, read = x, 0, name
        if out != channels or self.draw(st.booleans()):
            shortcut, short = self.convolution(x, out=out, same=True)
            read = shortcut
        in_place = self.draw(st.booleans())
        winner = None if depth == short else (0 if depth > short else 1)
        made = self.plan.add(
            "add_" if in_place else "add", (main, shortcut), self.plan.shapes[main], reads=(main, read), main=winner
        )
        return made, max(depth, short)

    def branches(self, x: int) -> tuple[int, int]:
        """An Inception block."""
        ends = [self.branch(x, out=2) for _ in range(self.draw(st.integers(2, 3)))]
        if self.draw(st.booleans()):
            ends.append((x, 0))  # as in a dense block
        nodes = tuple(node for node, _ in ends)
        channels = sum(self.plan.shapes[n][0] for n in nodes)
        return self.plan.add("cat", nodes, (channels, *self.plan.shapes[x][1:])), max(depth for _, depth in ends)

    def gated(self, x: int) -> tuple[int, int]:
        """Squeeze and excitation."""
        channels = self.plan.shapes[x][0]
        mean = self.plan.add("average", (x,), (channels, 1, 1), nn.AdaptiveAvgPool2d(1))
        layer = nn.Conv2d(channels, channels, 1, dtype=torch.float64)
        gate = self.plan.add("conv", (mean,), (channels, 1, 1), layer)
        return self.plan.add("gate", (x, gate), self.plan.shapes[x]), 1


@st.composite
def networks(draw) -> tuple[Network, torch.Tensor]:
    """A network in float64 with random parameters, and two images for it."""
    size, channels = (draw(st.integers(4, 7)), draw(st.integers(4, 7))), draw(st.sampled_from([1, 3]))
    plan = Sketch(draw, size, channels).network(draw(st.integers(1, 4)))
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    network = Network(plan, classes=3).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64, generator=g))
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, dtype=torch.float64, generator=g))
            elif name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, dtype=torch.float64, generator=g) + 0.5)
    return network, torch.randn(2, channels, *size, dtype=torch.float64, generator=g)


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
