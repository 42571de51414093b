"""Small random CNNs for property tests: drawn as a plan, run as an unremarkable module."""

from __future__ import annotations

from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class Copies:
    """How a network shows its layers an image several times over, all copies in dimension 0.

    Attributes:
        flips: For each copy the dimensions along which it is mirrored; a single copy that is not, in a plain network.
        beside: Whether the copies of an image lie side by side; else the first copies of all images come first.
        votes: Whether every copy is classified and the logits are averaged; else the features are.
    """

    flips: tuple[tuple[int, ...], ...] = ((),)
    beside: bool = False
    votes: bool = False

    def stack(self, x: torch.Tensor) -> torch.Tensor:
        """The copies of images (N, C, H, W)."""
        if len(self.flips) == 1:
            return x
        copies = [x.flip(dims) if dims else x for dims in self.flips]
        return torch.stack(copies, 1).flatten(0, 1) if self.beside else torch.cat(copies)

    def average(self, vectors: torch.Tensor) -> torch.Tensor:
        """Of every image, the mean over its copies."""
        if len(self.flips) == 1:
            return vectors
        if self.beside:
            return vectors.unflatten(0, (-1, len(self.flips))).mean(1)
        return vectors.view(len(self.flips), -1, vectors.shape[1]).mean(0)


class Network(nn.Module):
    """The plan as somebody would have written it: functional sums, concatenations, gates and writes in place."""

    def __init__(self, plan: Plan, classes: int, copies: Copies | None = None) -> None:
        super().__init__()
        self.plan, self.copies = plan, copies or Copies()
        self.layers = nn.ModuleList([s.layer if s.layer is not None else nn.Identity() for s in plan.steps])
        self.classifier = nn.Linear(plan.shapes[-1][0], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = [self.copies.stack(x)]
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
        vectors = made[-1].mean((2, 3))
        if self.copies.votes:
            return self.copies.average(self.classifier(vectors))
        return self.classifier(self.copies.average(vectors))


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


STACKS = (((), (3,)), ((2,), (3,), (2, 3)), ((2,), (), ()))
"""Copies that a network may show its layers: each with the dimensions along which it is mirrored."""


@st.composite
def networks(draw, stacked: bool = False) -> tuple[Network, torch.Tensor]:
    """A network in float64 with random parameters, and two images for it.

    Args:
        draw: Given by hypothesis.
        stacked: Whether the network stacks mirrored copies of its images along the batch.
    """
    size, channels = (draw(st.integers(4, 7)), draw(st.integers(4, 7))), draw(st.sampled_from([1, 3]))
    plan = Sketch(draw, size, channels).network(draw(st.integers(1, 4)))
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    copies = Copies()
    if stacked:
        copies = Copies(draw(st.sampled_from(STACKS)), beside=draw(st.booleans()), votes=draw(st.booleans()))
    network = Network(plan, classes=3, copies=copies).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64, generator=g))
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, dtype=torch.float64, generator=g))
            elif name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, dtype=torch.float64, generator=g) + 0.5)
    return network, torch.randn(2, channels, *size, dtype=torch.float64, generator=g)
