"""What a tape is made of: the operations that a forward pass ran and the values between them.

The list of operations is in static single assignment form: one that writes in place makes a new `Value`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from hedgeseg.attribution.constants import Constants, constant
from hedgeseg.attribution.custom_functions import CustomCall
from hedgeseg.attribution.errors import UnsupportedOpError
from hedgeseg.attribution.samples import Samples

Leaf = TypeVar("Leaf")


class LostValueError(RuntimeError):
    """A tensor that is needed to run an operation again was not kept: record anew, with more of it wanted."""


@dataclass(eq=False, slots=True)
class Value:
    """One tensor of the forward pass that depends on the images.

    Attributes:
        shape: Its shape, with the batch where the model put it (dimension 0 in a CNN).
        dtype: Its dtype in the forward pass.
        producer: The operation that made it, or None for the images.
        pixels: Whether only operations without weights lie between the images and this value.
        data: Its values, or None where no rule needs them (or after they were freed).
        samples: Where the images are in it; None where that is not known, or images were mixed (see `tracing`).
    """

    shape: torch.Size
    dtype: torch.dtype
    producer: Op | None = None
    pixels: bool = False
    data: Tensor | None = None
    samples: Samples | None = None

    @property
    def known_samples(self) -> Samples:
        """`samples`, where the recording was checked to have them."""
        assert self.samples is not None, "relevance reached a value whose images are not told apart"
        return self.samples

    @property
    def order(self) -> int:
        """Position of the producer on the tape, -1 for the images."""
        return -1 if self.producer is None else self.producer.index

    @property
    def positions(self) -> int:
        """Number of spatial positions: the product of the sizes after batch and channels."""
        return math.prod(self.shape[2:])


@dataclass(eq=False, slots=True)
class Op:
    """One recorded operation.

    Attributes:
        index: Its position on the tape.
        func: The ATen overload (or another callable with the same arguments).
        args: Positional arguments; a tensor that depends on the images is its `Value`, all else is as it was passed.
        kwargs: Keyword arguments, likewise.
        module: Path of the module in whose forward it ran, "" for the root.
        written: The arguments that it writes in place: positions in `args` or names in `kwargs`.
        outputs: The values it made, in order; None where an output is no tensor.
        call: The user's own autograd function in whose forward it ran, or None.
        inputs: The argument values, in order of appearance; one that is used twice appears twice.
        constants: The tensors among its arguments that do not depend on the images.
    """

    index: int
    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    module: str
    written: tuple[int | str, ...] = ()
    outputs: list[Value | None] = field(default_factory=list)
    call: CustomCall | None = None
    inputs: list[Value] = field(init=False)
    constants: Constants = field(init=False)

    def __post_init__(self) -> None:
        self.inputs = found(Value, (self.args, self.kwargs))
        self.constants = Constants(found(Tensor, (self.args, self.kwargs)))

    def check(self) -> None:
        """Raise unless the operation is still known as it ran, before it is run again or propagated through.

        Raises:
            ChangedConstantError: If the model wrote into one of its constants since.
            UnsupportedOpError: If it is part of an autograd function whose backward departs from its forward.
        """
        where = f"module {self.module!r}" if self.module else "the model's own forward"
        self.constants.check(f"{self.name} in {where}")
        fault = None if self.call is None else self.call.fault()
        if self.call is not None and fault is not None:
            raise UnsupportedOpError(
                f"the backward of {self.call.function.__name__} in {where}, a torch.autograd.Function, {fault}; this "
                "method follows the forward. Use method='gradient' (or smooth_grad, integrated_gradients), which call "
                "that backward, or choose a layer= behind it"
            )

    @property
    def packet(self) -> Any:
        """The ATen operator without its overload, the key of every rule book."""
        return getattr(self.func, "overloadpacket", self.func)

    @property
    def name(self) -> str:
        """Readable name such as ``aten.relu_``."""
        return str(self.packet) if hasattr(self.func, "overloadpacket") else self.func.__name__

    @property
    def samples(self) -> Samples:
        """Where the images are in the first output; for an operation with weights in its input as well."""
        return self.output.known_samples

    @property
    def output(self) -> Value:
        """The first output."""
        value = self.outputs[0]
        assert value is not None
        return value

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument of the call, whether it was given by position, by name or not at all."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)

    def run(self, lookup: Callable[[Any], Any]) -> tuple[Any, ...]:
        """Execute the operation again, without side effects.

        Args:
            lookup: Gives the argument to use for each recorded one; called on every leaf.

        Returns:
            The outputs, always as a tuple.
        """
        self.check()
        args, kwargs = replaced(self.args, lookup), replaced(self.kwargs, lookup)
        args = [a.clone() if i in self.written else a for i, a in enumerate(args)]
        kwargs = {name: a.clone() if name in self.written else a for name, a in kwargs.items()}
        out = self.func(*args, **kwargs)
        return tuple(out) if isinstance(out, (tuple, list)) else (out,)

    def run_on(self, given: Mapping[Value, Any], dtype: torch.dtype) -> tuple[Any, ...]:
        """Execute the operation again on other values.

        Args:
            given: What stands for its inputs; for the others it is what was kept of them.
            dtype: For what of its constants has half precision.

        Returns:
            The outputs, always as a tuple.

        Raises:
            LostValueError: If an input is neither given nor was kept.
        """

        def lookup(argument: Any) -> Any:
            if not isinstance(argument, Value):
                return constant(argument, dtype)
            if argument in given:
                return given[argument]
            if argument.data is None:
                raise LostValueError(f"a tensor {tuple(argument.shape)} that {self.name} needs was not kept")
            return constant(argument.data, dtype)

        return self.run(lookup)


@dataclass(frozen=True)
class Keeps:
    """Which of an operation's tensors a rule needs after the forward pass."""

    inputs: bool = False
    outputs: bool = False


def leading_to(end: Value, stops: Container[Value] = ()) -> list[Op]:
    """The operations that a value depends on, in order of execution; none that only a stop depends on."""
    found: set[Op] = set()
    todo = [end]
    while todo:
        value = todo.pop()
        op = value.producer
        if op is not None and op not in found and value not in stops:
            found.add(op)
            todo.extend(op.inputs)
    return sorted(found, key=lambda op: op.index)


def found(kind: type[Leaf], arguments: Any) -> list[Leaf]:
    """The leaves of one kind in nested lists, tuples and dicts, in order (torch's trees do more, and take longer)."""
    out: list[Leaf] = []
    _collect(kind, arguments, out)
    return out


def _collect(kind: type, argument: Any, out: list[Any]) -> None:
    if isinstance(argument, kind):
        out.append(argument)
    elif isinstance(argument, (tuple, list)):
        for item in argument:
            _collect(kind, item, out)
    elif isinstance(argument, dict):
        for item in argument.values():
            _collect(kind, item, out)


def replaced(arguments: Any, leaf: Callable[[Any], Any]) -> Any:
    """Nested lists, tuples and dicts with every leaf replaced by what `leaf` gives for it."""
    if isinstance(arguments, tuple):
        return tuple([replaced(item, leaf) for item in arguments])
    if isinstance(arguments, list):
        return [replaced(item, leaf) for item in arguments]
    if isinstance(arguments, dict):
        return {key: replaced(item, leaf) for key, item in arguments.items()}
    return leaf(arguments)
