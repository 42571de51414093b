"""Small layers in float64, and what they are as matrices: the slow twins of the rules are written against these."""

from collections.abc import Iterator

import numpy as np
import torch

from hedgeseg.attribution.rules.linear import Convolution, Dense

CONVOLUTIONS = {
    "3x3": {"shape": (3, 2, 3, 3), "size": (4, 5), "padding": [1, 1]},
    "stride": {"shape": (3, 2, 3, 3), "size": (7, 6), "stride": [2, 3], "padding": [1, 0]},
    "groups": {"shape": (4, 2, 3, 3), "size": (4, 4), "channels": 4, "groups": 2},
    "1x1": {"shape": (3, 2, 1, 1), "size": (3, 4)},
}
LAYERS = [*CONVOLUTIONS, "fc"]


class Layer:
    """A linear map with its input and the relevance of its output: 2 samples, 3 targets, both signs, exact zeros."""

    def __init__(self, name: str, positive: bool = False, seed: int = 0) -> None:
        g = torch.Generator().manual_seed(seed)
        if name == "fc":
            self.linear: Convolution | Dense = Dense(torch.randn(6, 4, dtype=torch.float64, generator=g))
            features: tuple[int, ...] = (6,)
        else:
            self.linear = convolution(**CONVOLUTIONS[name], generator=g)
            features = self.linear.input_shape[1:]
        self.x = torch.randn(2, *features, dtype=torch.float64, generator=g)
        self.x[torch.rand(self.x.shape, generator=g) < 0.3] = 0
        if positive:
            self.x = self.x.abs()
        self.out = self.linear.forward(self.x, self.linear.weight)
        self.r = torch.randn(3, *self.out.shape, dtype=torch.float64, generator=g)
        self.r[torch.rand(self.r.shape, generator=g) < 0.2] = 0
        self.bias = torch.randn(self.out.shape[1], dtype=torch.float64, generator=g)

    @property
    def matrix(self) -> np.ndarray:
        """The weights as (outputs, inputs)."""
        count = self.x[0].numel()
        columns = torch.eye(count, dtype=torch.float64).view(count, *self.x.shape[1:])
        return self.linear.forward(columns, self.linear.weight).flatten(1).T.numpy()

    @property
    def broadcast_bias(self) -> torch.Tensor:
        """The bias in the shape that `bias_of` gives it."""
        return self.bias.view(-1, *(1,) * (self.out.ndim - 2))

    @property
    def flat_bias(self) -> np.ndarray:
        """The bias of every output, as in the rows of the matrix."""
        return self.broadcast_bias.expand(self.out.shape[1:]).flatten().numpy()

    def cases(self) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
        """Target, sample, flat input, flat relevance."""
        for t in range(len(self.r)):
            for n in range(len(self.x)):
                yield t, n, self.x[n].flatten().numpy(), self.r[t, n].flatten().numpy()

    def agrees(self, got: torch.Tensor, twin) -> None:
        """Compare a rule's result with a twin of the flat input and relevance of one sample and target."""
        assert got.shape == (len(self.r), *self.x.shape)
        for t, n, x, r in self.cases():
            np.testing.assert_allclose(got[t, n].flatten().numpy(), twin(x, r), rtol=1e-8, atol=1e-11)


def convolution(
    shape: tuple[int, ...],
    size: tuple[int, ...],
    channels: int = 2,
    stride: list[int] | None = None,
    padding: list[int] | None = None,
    dilation: list[int] | None = None,
    output_padding: list[int] | None = None,
    groups: int = 1,
    transposed: bool = False,
    generator: torch.Generator | None = None,
) -> Convolution:
    """A convolution with random weights."""
    n = len(size)
    weight = torch.randn(shape, dtype=torch.float64, generator=generator)
    return Convolution(
        weight,
        stride or [1] * n,
        padding or [0] * n,
        dilation or [1] * n,
        transposed,
        output_padding or [0] * n,
        groups,
        (1, channels, *size),
    )


def share(v: np.ndarray, m: np.ndarray, r: np.ndarray, extra: np.ndarray | float = 0.0) -> np.ndarray:
    """``v * m^T(r / (m v + extra))``, number by number; nothing where a denominator is 0."""
    got = np.zeros(len(v))
    for o in range(len(m)):
        z = sum(m[o, i] * v[i] for i in range(len(v))) + (extra if np.isscalar(extra) else extra[o])
        for i in range(len(v)):
            got[i] += v[i] * m[o, i] * r[o] / z if z != 0 else 0.0
    return got
