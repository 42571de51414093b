"""`torch.autograd.Function`s of a user's own: their forward is what the recording shows, their backward is not.

A memory-saving activation has the backward that its forward implies, and rules may follow the forward. A gradient
reversal or a straight-through estimator has another one, which is what the author wants to count: a map that ignores it
has the wrong sign or the wrong size. Both kinds are told apart by differentiating the forward.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

Function = torch.autograd.Function

_DIGITS = {torch.float64: 1e-6, torch.float32: 1e-3}


@dataclass(eq=False)
class CustomCall:
    """One call of such a function.

    Attributes:
        function: The class.
        args: What it was called with.
    """

    function: type[Function]
    args: tuple[Any, ...]
    _fault: list[str | None] = field(default_factory=list)

    def fault(self) -> str | None:
        """How its backward departs from the derivative of its forward, None if it does not; computed once."""
        if not self._fault:
            with torch.enable_grad():
                self._fault.append(_departure(self.function, self.args))
        return self._fault[0]


class CustomFunctions:
    """Finds the call that is running, by the code of its forward on the stack.

    Args:
        outermost: The code at which the search of the stack ends.
    """

    def __init__(self, outermost: CodeType) -> None:
        self._classes = {
            id(_code(cls)): cls for cls in _subclasses(Function) if not cls.__module__.startswith("torch.")
        }
        self._classes.pop(id(None), None)
        self._outermost = outermost
        self._frame: FrameType | None = None
        self._call: CustomCall | None = None

    def running(self) -> CustomCall | None:
        """The outermost call that is running, None in the model's ordinary code."""
        if not self._classes:
            return None
        frame, inside = sys._getframe(1), None
        while frame is not None and frame.f_code is not self._outermost:
            if id(frame.f_code) in self._classes:
                inside = frame
            frame = frame.f_back  # type: ignore[assignment]
        if inside is not self._frame:
            self._frame = inside
            self._call = None if inside is None else _call(self._classes[id(inside.f_code)], inside)
        return self._call


def _subclasses(cls: type[Function]) -> Iterator[type[Function]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


def _code(cls: type[Function]) -> CodeType | None:
    return getattr(inspect.unwrap(cls.forward), "__code__", None)


def _call(cls: type[Function], frame: FrameType) -> CustomCall:
    code, given = frame.f_code, frame.f_locals
    names = code.co_varnames[: code.co_argcount]
    args = [given.get(name) for name in names]
    if code.co_flags & inspect.CO_VARARGS:
        args += given.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount], ())
    return CustomCall(cls, tuple(args if _has_setup(cls) else args[1:]))


def _has_setup(cls: type[Function]) -> bool:
    """Whether forward takes no context, which is set up beside it."""
    return cls.setup_context is not Function.setup_context


def _departure(cls: type[Function], args: tuple[Any, ...]) -> str | None:
    try:
        own = _slopes(lambda *given: cls.apply(*given), args)
    except (NotImplementedError, RuntimeError):
        return None  # no backward of its own: there is nothing that the forward could contradict
    try:
        context: list[Any] = [] if _has_setup(cls) else [_Context(len(args))]
        implied = _slopes(lambda *given: cls.forward(*context, *given), args)
    except Exception as error:
        return f"can't be compared with its forward ({type(error).__name__}: {error})"
    for mine, other in zip(own, implied, strict=True):
        scale = max(float(mine.abs().max()), float(other.abs().max())) if mine.numel() else 0.0
        if scale and float((mine - other).abs().max()) > _DIGITS.get(mine.dtype, 0.05) * scale:
            return "is another than the derivative of its forward"
    return None


class _Context(FunctionCtx):
    """What a forward expects as its context."""

    def __init__(self, arguments: int) -> None:
        self.needs_input_grad = (True,) * arguments


def _slopes(function: Any, args: tuple[Any, ...]) -> list[Tensor]:
    """Gradients of all its outputs, weighted by fixed numbers, with respect to all its inputs."""
    leaves = [a.detach().clone().requires_grad_() for a in args if _differentiable(a)]
    rest = iter(leaves)
    # Copies: the function may write into its inputs, which a leaf does not allow.
    out = function(*(next(rest).clone() if _differentiable(a) else a for a in args))
    outputs = [y for y in (out if isinstance(out, (tuple, list)) else (out,)) if _differentiable(y) and y.requires_grad]
    if not outputs:
        return [torch.zeros_like(leaf) for leaf in leaves]
    weights = [torch.arange(y.numel(), device=y.device).cos().to(y.dtype).view(y.shape) for y in outputs]
    return list(torch.autograd.grad(outputs, leaves, weights, allow_unused=True, materialize_grads=True))


def _differentiable(a: Any) -> bool:
    return isinstance(a, Tensor) and (a.is_floating_point() or a.is_complex())
