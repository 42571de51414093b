"""A recorded forward pass as a module in which every activation and every max-pooling is a module of its own.

captum's DeepLIFT knows activations by the exact class of their module. In a user's network the same activation may be
a function call, write in place or serve several times; on the tape it is one operation per use, and here one module.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hedgeseg.attribution.aliasing import view_write
from hedgeseg.attribution.batch_statistics import uses_batch
from hedgeseg.attribution.errors import UnsupportedOpError
from hedgeseg.attribution.nodes import Op, leading_to
from hedgeseg.attribution.operations import (
    ACTIVATIONS,
    AVERAGES,
    BATCH_NORMS,
    COPIES,
    MOVES,
    POINTWISE,
    PRODUCTS,
    QUOTIENTS,
    SUMS,
    VIEWS,
    WEIGHTED,
)
from hedgeseg.attribution.recording import Recording
from hedgeseg.attribution.replay import replay

aten = torch.ops.aten

_LINEAR = WEIGHTED | COPIES | VIEWS | MOVES | AVERAGES | SUMS | PRODUCTS | {aten.cat, view_write}
_POINTWISE = ACTIVATIONS | POINTWISE | {aten.reciprocal, aten.reciprocal_, aten.rsqrt, aten.rsqrt_}
_MAX_POOLS = frozenset({aten.max_pool2d_with_indices, aten.max_pool3d_with_indices})


class Replay(nn.Module):
    """The logits as a function of the images, for batches of the recorded size.

    Args:
        recording: A forward pass.
        dtype: To compute in; half-precision weights are cast to it.

    Raises:
        UnsupportedOpError: If an operation is neither linear in what depends on the images, nor pointwise, nor a
            max-pooling.
    """

    def __init__(self, recording: Recording, dtype: torch.dtype) -> None:
        super().__init__()
        self._recording, self._dtype = recording, dtype
        self.nonlinear = nn.ModuleDict()
        self._modules_of: dict[Op, Callable[[Tensor], Tensor]] = {}
        for op in leading_to(recording.class_logits_value):
            if any(v.dtype.is_floating_point for v in op.outputs if v is not None):
                module = self._module_for(op)
                if module is not None:
                    self.nonlinear[str(op.index)] = module
                    self._modules_of[op] = _on_a_copy(module)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, *space)."""
        start = {self._recording.tape.images: images}
        logits: Tensor = replay(self._recording.class_logits_value, start, self._dtype, self._modules_of)
        return logits

    def _module_for(self, op: Op) -> nn.Module | None:
        """The module that stands for an operation, None for a linear one."""
        operands = set(op.inputs)
        alone = len(operands) == 1 and op.inputs[0].dtype.is_floating_point
        if op.packet in _MAX_POOLS and alone:
            return Windows(op)
        if op.packet is aten.logsumexp:
            return LogSumExp(op)
        if op.packet in (aten.relu, aten.relu_):
            return nn.ReLU()
        if op.packet in _POINTWISE and alone:
            return self._pointwise(op)
        if op.packet in PRODUCTS and alone and len(op.inputs) == 2:
            return self._pointwise(op)  # a square
        if op.packet in QUOTIENTS and alone:
            return None if op.inputs == [op.args[0]] else self._pointwise(op)
        additive = op.packet in COPIES | SUMS | MOVES | {aten.cat, view_write}
        if op.packet in _LINEAR and (alone or additive) and all(v.dtype.is_floating_point for v in operands):
            return None
        if op.packet in BATCH_NORMS and alone and not uses_batch(op):
            return None
        raise UnsupportedOpError(
            f"deep_lift has no rescale rule for {op.name} in module {op.module!r} ({len(operands)} of its "
            "inputs depend on the image): the rule is defined for linear operations, pointwise activations and "
            "max-pooling. Use method='integrated_gradients', which needs no rules."
        )

    def _pointwise(self, op: Op) -> nn.Module:
        return pointwise(lambda x: op.run_on(dict.fromkeys(op.inputs, x), self._dtype)[0])


def _on_a_copy(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """A module that is given a copy of its input.

    captum replaces the gradient of the tensor that enters a module. That must reach no other consumer of the tensor,
    and an activation that made it must see the replaced gradient (captum alone gets two such modules in a row wrong, as
    a ReLU and the pooling behind it are).
    """
    return lambda x: module(x.clone())


def pointwise(function: Callable[[Tensor], Tensor]) -> nn.Module:
    """A pointwise function as a module that captum knows to rescale."""
    # To captum the class is a label for "pointwise: use the rescale rule"; what is computed is the function.
    module = nn.Tanh()
    setattr(module, "forward", function)  # noqa: B010 - of this one object
    return module


class LogSumExp(nn.Module):
    """A log-sum-exp as what it is made of: two pointwise functions with a sum between them.

    Args:
        op: A recorded log-sum-exp.
    """

    def __init__(self, op: Op) -> None:
        super().__init__()
        self.dims, self.keepdim = op.argument(1, "dim"), op.argument(2, "keepdim", False)
        self.exp, self.log = pointwise(torch.exp), pointwise(torch.log)

    def forward(self, x: Tensor) -> Tensor:
        """Reduce (N, ...)."""
        largest = x.detach().amax()  # one number for image and reference, so that it cancels in their difference
        return self.log(self.exp(x - largest).sum(self.dims, self.keepdim)) + largest


class Windows(nn.Module):
    """Max-pooling in two steps: the windows laid out side by side, which is linear, and their maxima.

    captum undoes a pooling by `max_unpool`, which keeps only one of several windows that share their maximum; windows
    that are laid out share nothing.

    Args:
        op: A recorded max-pooling.

    Raises:
        UnsupportedOpError: If its windows are dilated.
    """

    def __init__(self, op: Op) -> None:
        super().__init__()
        space = len(op.output.shape) - 2
        kernel, stride, padding, dilation = (
            _per_dimension(op.argument(i, name, default), space)
            for i, name, default in ((1, "kernel_size", ()), (2, "stride", ()), (3, "padding", 0), (4, "dilation", 1))
        )
        if any(d != 1 for d in dilation):
            raise UnsupportedOpError(
                f"deep_lift has no rule for {op.name} with dilation {dilation} in module {op.module!r}; use "
                "method='integrated_gradients'"
            )
        self.kernel, self.stride, self.padding = kernel, stride or kernel, padding
        self.output = op.output.shape[2:]
        self.maxima = nn.MaxPool1d(math.prod(kernel))

    def forward(self, x: Tensor) -> Tensor:
        """Pool (N, C, *space)."""
        spans = [(n - 1) * s + k for n, s, k in zip(self.output, self.stride, self.kernel, strict=True)]
        after = [max(0, w - size - p) for w, size, p in zip(spans, x.shape[2:], self.padding, strict=True)]
        pads = [side for p, a in zip(reversed(self.padding), reversed(after), strict=True) for side in (p, a)]
        # Below every value, so that the padding never wins; finite, so that differences from the reference are 0.
        x = nn.functional.pad(x, pads, value=float(x.detach().min()) - 1)
        for dim, (span, kernel, stride) in enumerate(zip(spans, self.kernel, self.stride, strict=True), start=2):
            x = x.narrow(dim, 0, span).unfold(dim, kernel, stride)
        rows = x.reshape(x.shape[0], -1, math.prod(self.kernel))
        return self.maxima(rows).view(x.shape[0], x.shape[1], *self.output)


def _per_dimension(argument: Any, dimensions: int) -> tuple[int, ...]:
    values = (argument,) if isinstance(argument, int) else tuple(argument)
    return values * dimensions if len(values) == 1 else values
