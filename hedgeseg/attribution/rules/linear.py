"""An operation with weights as a linear map without its bias, and the adjoint of that map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hedgeseg.attribution.attention import ADVICE, attention_side, mixes_images, operands
from hedgeseg.attribution.errors import UnsupportedOpError
from hedgeseg.attribution.nodes import Keeps, Op, Value
from hedgeseg.attribution.operations import BATCHED_PRODUCTS, CONVOLUTIONS

aten = torch.ops.aten


class LinearMap(Protocol):
    """The linear part of a layer; both directions take any number of samples along dimension 0."""

    @property
    def weight(self) -> Tensor:
        """The weights, in the layout of the operation."""

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """Apply the map with `weight` in place of the layer's own."""

    def adjoint(self, s: Tensor, weight: Tensor) -> Tensor:
        """Apply the transposed map with `weight` in place of the layer's own."""

    def laid_out(self, memory: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Flat memory as a stack of samples, (k, ..., *sample), in the layout that the map is fastest in."""

    def weight_gradient(self, x: Tensor, s: Tensor) -> Tensor:
        """Gradient of ``sum(s * forward(x, weight))`` with respect to the weight, over all samples together."""


@dataclass(frozen=True)
class Convolution:
    """A convolution of any stride, padding, dilation and groups, in 1, 2 or 3 dimensions, transposed or not."""

    weight: Tensor
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    transposed: bool
    output_padding: list[int]
    groups: int
    input_shape: tuple[int, ...]

    @property
    def kernel(self) -> tuple[int, ...]:
        """Spatial size of the kernel."""
        return tuple(self.weight.shape[2:])

    @property
    def mixes_channels(self) -> bool:
        """Whether it is one product with a matrix at every place: 1x1, stride 1, in 2 dimensions, of one group."""
        return (
            self.kernel == (1, 1)
            and self.groups == 1
            and not self.transposed
            and list(self.stride) == [1, 1]
            and list(self.padding) == [0, 0]
        )

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """See `LinearMap`."""
        if self.mixes_channels and _is_channels_last(x):
            return _at_every_place(x, weight[:, :, 0, 0].T)
        return aten.convolution(
            x, weight, None, self.stride, self.padding, self.dilation,
            self.transposed, self.output_padding, self.groups,
        )  # fmt: skip

    def laid_out(self, memory: Tensor, shape: tuple[int, ...]) -> Tensor:
        """See `LinearMap`: channels last for 2-D convolutions on the CPU, where it saves oneDNN two reorderings."""
        if len(self.kernel) != 2 or memory.device.type != "cpu" or memory.dtype == torch.float64:
            return memory.view(shape)
        channels, height, width = shape[-3:]
        return memory.view(*shape[:-3], height, width, channels).movedim(-1, -3)

    def weight_gradient(self, x: Tensor, s: Tensor) -> Tensor:
        """See `LinearMap`."""
        return aten.convolution_backward(
            s, x, self.weight, None, self.stride, self.padding, self.dilation,
            self.transposed, self.output_padding, self.groups, [False, True, False],
        )[1]  # fmt: skip

    def adjoint(self, s: Tensor, weight: Tensor) -> Tensor:
        """See `LinearMap`."""
        if self.mixes_channels and _is_channels_last(s):
            return _at_every_place(s, weight[:, :, 0, 0])
        if self.transposed:
            shape_only = s.new_empty(1).expand(len(s), *self.input_shape[1:])
            return aten.convolution_backward(
                s, shape_only, weight, None, self.stride, self.padding, self.dilation,
                True, self.output_padding, self.groups, [True, False, False],
            )[0]  # fmt: skip
        # The same map as the gradient's, which would first write out an input that it has no use for.
        reach = [
            (out - 1) * stride - 2 * padding + dilation * (k - 1) + 1
            for out, stride, padding, dilation, k in zip(
                s.shape[2:], self.stride, self.padding, self.dilation, self.kernel, strict=True
            )
        ]
        rest = [size - r for size, r in zip(self.input_shape[2:], reach, strict=True)]
        return aten.convolution(
            s, weight, None, self.stride, self.padding, self.dilation, True, rest, self.groups
        )  # fmt: skip


@dataclass(frozen=True)
class Dense:
    """A fully connected layer: (M, K) times (K, O)."""

    weight: Tensor

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """See `LinearMap`."""
        return x @ weight

    def adjoint(self, s: Tensor, weight: Tensor) -> Tensor:
        """See `LinearMap`."""
        return s @ weight.mT

    def laid_out(self, memory: Tensor, shape: tuple[int, ...]) -> Tensor:
        """See `LinearMap`."""
        return memory.view(shape)

    def weight_gradient(self, x: Tensor, s: Tensor) -> Tensor:
        """See `LinearMap`."""
        return x.mT @ s


@dataclass(frozen=True)
class Mixing(Dense):
    """A product with a matrix per sample: attention over values, or a stack of fixed matrices.

    The matrix stands on the left, ``M x`` with x (B, K, D), or on the right, ``x M`` with x (B, L, K); without B where
    the operation multiplies two single matrices.
    """

    on_left: bool = True

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """See `LinearMap`."""
        return self._each(x, weight)

    def adjoint(self, s: Tensor, weight: Tensor) -> Tensor:
        """See `LinearMap`."""
        return self._each(s, weight.mT)

    def weight_gradient(self, x: Tensor, s: Tensor) -> Tensor:
        """See `LinearMap`; here every sample has a matrix of its own."""
        return s @ x.mT if self.on_left else x.mT @ s

    def _each(self, x: Tensor, weight: Tensor) -> Tensor:
        """The product for each of the batches that lie behind one another along dimension 0."""
        size = len(weight) if weight.ndim == 3 else len(x) if not self.on_left else weight.shape[-1]
        batches = x.split(size)
        products = [weight @ part if self.on_left else part @ weight for part in batches]
        return products[0] if len(products) == 1 else torch.cat(products)


def _is_channels_last(x: Tensor) -> bool:
    """Whether a tensor on the CPU is in the layout where a 1x1 convolution is a product of two plain matrices.

    On one thread, torch runs these convolutions by a path that is 1.1 to 2 times slower, and up to 9 times transposed.
    """
    return x.device.type == "cpu" and x.permute(0, 2, 3, 1).is_contiguous()


def _at_every_place(x: Tensor, matrix: Tensor) -> Tensor:
    """Channels (N, C, H, W) times a matrix (C, O): (N, O, H, W), both with the channels last in memory."""
    return (x.permute(0, 2, 3, 1) @ matrix).permute(0, 3, 1, 2)


def linear_map(op: Op, dtype: torch.dtype) -> tuple[Value, Convolution | Dense]:
    """The input of an operation with weights, and its map.

    Args:
        op: A recorded operation of `WEIGHTED`.
        dtype: The dtype to propagate in; the weights are cast to it.

    Returns:
        The value that is multiplied and the map that multiplies it.

    Raises:
        UnsupportedOpError: If the weights themselves depend on the images.
    """
    if op.packet in CONVOLUTIONS:
        x, weight = op.args[0], op.args[1]
    elif op.packet in BATCHED_PRODUCTS or mixes_images(op):
        return _mixing(op, dtype)
    else:
        x, weight = operands(op)
    if not isinstance(x, Value) or isinstance(weight, Value):
        raise UnsupportedOpError(
            f"{op.name} in module {op.module!r} has weights that depend on the image (a dynamic convolution). {ADVICE}"
        )
    weight = weight.detach().to(dtype)
    if op.packet in CONVOLUTIONS:
        stride, padding, dilation, transposed, output_padding, groups = op.args[3:9]
        spatial = len(x.shape) - 2
        sizes = [
            list(s) if len(s) == spatial else list(s) * spatial for s in (stride, padding, dilation, output_padding)
        ]
        return x, Convolution(
            weight, sizes[0], sizes[1], sizes[2], bool(transposed), sizes[3], int(groups), tuple(x.shape)
        )
    return x, Dense(weight.mT if op.packet is aten.linear else weight)


def _mixing(op: Op, dtype: torch.dtype) -> tuple[Value, Mixing]:
    """A product of matrices with what is fixed of them: the attention matrix, or the one that is no value at all."""
    left, right = operands(op)
    side = attention_side(op) if mixes_images(op) else int(isinstance(left, Value))
    if side is None or any(isinstance(a, Value) for a in op.inputs if a is not left and a is not right):
        shapes = [tuple(v.shape) for v in op.inputs]
        raise UnsupportedOpError(
            f"{op.name} in module {op.module!r} combines tensors {shapes} that all depend on the image, and it is no "
            f"attention. {ADVICE}"
        )
    fixed, moved = (right, left) if side else (left, right)
    if isinstance(fixed, Value):
        # What attention leaves below a rounding error of a rounding error is a mask's: sums of such numbers alone would
        # overflow as denominators.
        weight = torch.nn.functional.threshold(data(fixed, dtype), torch.finfo(dtype).eps ** 2, 0.0)
    else:
        weight = fixed.detach().to(dtype)
    if op.packet is aten.baddbmm:
        weight = weight * op.argument(4, "alpha", 1)
    return moved, Mixing(weight, on_left=side == 0)


def product_keeps(op: Op) -> Keeps:
    """What a rule for an operation of `WEIGHTED` needs: its inputs, but nothing of queries and keys."""
    return Keeps(inputs=not mixes_images(op) or attention_side(op) is not None)


def bias_of(op: Op, dtype: torch.dtype) -> Tensor | None:
    """The bias of an operation with weights, shaped to broadcast over its output; None where it has none."""
    if op.packet in (aten.addmm, aten.baddbmm):
        bias = op.args[0]
    else:
        bias = None if op.packet in (aten.mm, aten.bmm) else op.argument(2, "bias")
    if not isinstance(bias, Tensor):
        return None
    bias = bias.detach().to(dtype) * op.kwargs.get("beta", 1)
    return bias.view(-1, *(1,) * (len(op.output.shape) - 2)) if op.packet in CONVOLUTIONS else bias


def data(value: Value, dtype: torch.dtype) -> Tensor:
    """A value's recorded tensor, in the dtype to propagate in.

    Raises:
        RuntimeError: If it was not kept: the operation's rule did not ask for it.
    """
    if value.data is None:
        made_by = "the images" if value.producer is None else f"the output of {value.producer.name}"
        raise RuntimeError(f"{made_by}, {tuple(value.shape)}, was not kept on the tape; its rule must ask with Keeps")
    return value.data.to(dtype)
