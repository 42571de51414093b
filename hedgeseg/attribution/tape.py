"""Records an unmodified model's forward pass as a list of ATen operations.

`Tape` is a `TorchDispatchMode`: while it is active, every ATen operation that touches something derived from the
images is appended as an `Op` over `Value` nodes. At this level functional calls, residual sums, concatenations, reused
modules and writes in place are all visible. The list is in static single assignment form: an operation that writes in
place makes a new `Value`, and the old one keeps its data if somebody needs it (it is cloned before the write).

Only what the propagation rules ask for is kept: `Keeps` says which tensors of an operation they need later.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from hedgeseg.attribution.aliasing import Geometry, WriteLog, view_write
from hedgeseg.attribution.custom_functions import CustomCall, CustomFunctions
from hedgeseg.attribution.errors import ChangedConstantError, UnsupportedOpError
from hedgeseg.attribution.explaining import hooks
from hedgeseg.attribution.fused import written_out
from hedgeseg.attribution.samples import Samples

aten = torch.ops.aten

Leaf = TypeVar("Leaf")

# Their outputs take shape and type from an input, but no value.
VALUELESS = frozenset(
    {
        aten.zeros_like, aten.ones_like, aten.empty_like, aten.full_like, aten.rand_like, aten.randn_like,
        aten.new_zeros, aten.new_ones, aten.new_empty, aten.new_full, aten.new_empty_strided,
    }
)  # fmt: skip


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
    _versions: list[tuple[Tensor, int]] = field(init=False)

    def __post_init__(self) -> None:
        self.inputs = found(Value, (self.args, self.kwargs))
        constants = found(Tensor, (self.args, self.kwargs))
        self._versions = [(t, t._version) for t in constants if not t.is_inference()]

    def check(self) -> None:
        """Raise unless the operation is still known as it ran, before it is run again or propagated through.

        Raises:
            ChangedConstantError: If the model wrote into one of its constants since.
            UnsupportedOpError: If it is part of an autograd function whose backward departs from its forward.
        """
        where = f"module {self.module!r}" if self.module else "the model's own forward"
        for tensor, version in self._versions:
            if tensor._version != version:
                raise ChangedConstantError(
                    f"a tensor {tuple(tensor.shape)} that {self.name} in {where} read was written in place later in "
                    "the forward pass: what it held is gone. Give the operation a copy of it (.clone())"
                )
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


@dataclass(frozen=True)
class Keeps:
    """Which of an operation's tensors a rule needs after the forward pass."""

    inputs: bool = False
    outputs: bool = False


class Tape(TorchDispatchMode):
    """A recording of one forward pass.

    Args:
        images: The tensor from which everything recorded derives.
        keeps: For an operation about to run, what its rule needs.
        is_weighted: Whether an operator packet multiplies by weights; ends the `Value.pixels` region.
        wanted: Module paths, or ``aten.<op>:<k>`` for the k-th call of an operation, whose outputs are to be kept, with
            all that is computed from then on.
        look: Called with packet, arguments and tensors of every operation that is about to be recorded.
        look_aside: The same for every operation on constants alone, which is not recorded.

    Attributes:
        images: The images' value.
        ops: What was recorded, in order of execution.
        outputs_of: For each module path that ran, what it returned, run by run; None where that was no single tensor.
        module_of: For a value that a module returned, the path of the outermost such module.
    """

    def __init__(
        self,
        images: Tensor,
        keeps: Callable[[Op], Keeps],
        is_weighted: Callable[[Any], bool],
        wanted: frozenset[str] = frozenset(),
        look: Callable[[Any, Any, list[Tensor]], None] | None = None,
        look_aside: Callable[[Any, Any, list[Tensor]], None] | None = None,
    ) -> None:
        super().__init__()
        self._functions = CustomFunctions(sys._getframe(1).f_code)
        self.images = Value(images.shape, images.dtype, pixels=True, data=images)
        self.ops: list[Op] = []
        self.outputs_of: dict[str, list[Value | None]] = {}
        self.module_of: dict[Value, str] = {}
        self._keeps, self._is_weighted, self._wanted = keeps, is_weighted, wanted
        self._keep_all = False
        self._look, self._look_aside = look, look_aside
        self._paused = False
        self._values: Any = WeakTensorKeyDictionary()
        self._values[images] = self.images
        self._kept: dict[int, list[Value]] = {images.untyped_storage()._cdata: [self.images]}
        self._writes = WriteLog()
        self._modules: list[str] = []
        self._thread = threading.get_ident()
        self._written_arguments: dict[Any, tuple[tuple[int, str], ...]] = {}

    def value_of(self, tensor: Tensor) -> Value | None:
        """The value that a tensor holds now, or None if it does not depend on the images."""
        value: Value | None = self._values.get(tensor)
        for geometry, written in self._writes.pending(tensor):
            if geometry == Geometry.of(tensor):
                value = written
            else:
                value = self._merge_write(tensor, value, geometry, written)
            self._values[tensor] = value
        return value

    def tensor_of(self, value: Value) -> Tensor:
        """What was kept of a value, known to the recording as that value: what is computed from it is recorded."""
        assert value.data is not None
        self._values[value.data] = value
        self._writes.mark_fresh(value.data)
        return value.data

    def apply(self, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        """Call a function of tensors and record it as one operation."""
        before = self._paused
        self._paused = True
        try:
            out = function(*tensors)
        finally:
            self._paused = before
        self._append(function, tuple(map(self._recorded, tensors)), out, self._modules[-1] if self._modules else "")
        return out

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = getattr(func, "overloadpacket", func)
        if self._paused or packet in VALUELESS:
            return func(*args, **kwargs)
        tensors = found(Tensor, (args, kwargs))
        values = {id(t): value for t in tensors if (value := self.value_of(t)) is not None}
        if not values:
            if self._look_aside is not None:
                # What is only written may be memory that was never set.
                filled = [args[position] for position, _ in self._written(func) if position < len(args)]
                self._look_aside(packet, args, [t for t in tensors if all(t is not f for f in filled)])
            return func(*args, **kwargs)
        if (ordinary := written_out(func)) is not None:
            with self:
                return ordinary(*args, **kwargs)
        if self._look is not None:
            self._look(packet, args, tensors)
        written: list[Tensor] = []
        names: tuple[int | str, ...] = ()
        for position, name in self._written(func):
            if position < len(args) and isinstance(args[position], Tensor):
                names += (position,)
                written.append(args[position])
            elif isinstance(kwargs.get(name), Tensor):
                names += (name,)
                written.append(kwargs[name])
        recorded: dict[int, Any] = {id(t): t.detach().clone() for t in written if id(t) not in values}
        recorded |= values
        op_args, op_kwargs = (replaced(a, lambda leaf: recorded.get(id(leaf), leaf)) for a in (tuple(args), kwargs))
        module = self._modules[-1] if self._modules else ""
        op = Op(len(self.ops), func, op_args, op_kwargs, module, names, call=self._functions.running())
        keeps = self._keeps(op)
        # Indices and masks are small, and a rule that moves relevance by them could not do without.
        self._keep([t for t in tensors if keeps.inputs or self._keep_all or not t.is_floating_point()])
        for tensor in written:
            self._save_before_write(tensor)
        out = func(*args, **kwargs)
        self.ops.append(op)
        outputs = list(out) if isinstance(out, (tuple, list)) else [out]
        op.outputs = [self._new_value(t, op) if isinstance(t, Tensor) else None for t in outputs]
        for tensor in written:
            if not any(tensor is t for t in outputs):
                op.outputs.append(self._new_value(tensor, op))
            self._writes.add(tensor, self._values[tensor])
        self._put_together(op, outputs[0])
        if self._wanted_operation(op):
            self._keep([t for t in outputs if isinstance(t, Tensor)])
            self._keep_all = True
        if keeps.outputs or (self._collapses_space(op) and not keeps.inputs and not written):
            self._keep([t for t in outputs if isinstance(t, Tensor)] if keeps.outputs else tensors)
        return out

    @contextmanager
    def following(self, model: nn.Module) -> Iterator[None]:
        """Keep account of which module runs and what it returns, by hooks that are removed at the end."""
        handles: list[Any] = []
        with hooks(handles):
            for name, module in model.named_modules():
                path = name.replace("_orig_mod.", "").removesuffix("._orig_mod")
                handles.append(module.register_forward_pre_hook(self._entering(path)))
                handles.append(module.register_forward_hook(self._leaving(path)))
            yield

    def _put_together(self, op: Op, out: Tensor) -> None:
        """Record a product and its bias, which torch adds apart where the input is not contiguous, as one layer.

        Contiguity may depend on the batch; rules whose denominators hold the bias would depend on it as well.
        """
        view = op.args[0].producer if op.packet in (aten.add, aten.add_) and isinstance(op.args[0], Value) else None
        if view is None or view.packet not in (aten.view, aten._unsafe_view):
            return
        product, bias = view.inputs[0].producer, op.args[1]
        if product is None or product.packet is not aten.mm or not isinstance(bias, Tensor) or "alpha" in op.kwargs:
            return
        x, weight = product.args
        if isinstance(weight, Value) or bias.shape != weight.shape[1:] or op.output.shape[-1:] != bias.shape:
            return
        layer = Op(op.index, aten.addmm.default, (bias, x, weight), {}, op.module)
        layer.outputs = [Value(product.output.shape, product.output.dtype, layer)]
        unfolded = Op(op.index + 1, aten.view.default, (layer.output, list(op.output.shape)), {}, op.module)
        unfolded.outputs = [op.output]
        op.output.producer = unfolded
        if self._keeps(unfolded).inputs or self._keep_all:
            layer.output.data = out.detach().reshape(layer.output.shape)
            self._kept.setdefault(out.untyped_storage()._cdata, []).append(layer.output)
        self.ops[-1:] = [layer, unfolded]

    def _recorded(self, argument: Any) -> Any:
        value = self.value_of(argument) if isinstance(argument, Tensor) else None
        return argument if value is None else value

    def _new_value(self, tensor: Tensor, op: Op) -> Value:
        pixels = not self._is_weighted(op.packet) and all(v.pixels for v in op.inputs)
        value = Value(tensor.shape, tensor.dtype, op, pixels)
        self._values[tensor] = value
        self._writes.mark_fresh(tensor)
        return value

    def _keep(self, tensors: list[Tensor]) -> None:
        for tensor in tensors:
            value = self.value_of(tensor)
            if value is not None and value.data is None:
                value.data = tensor.detach()
                self._kept.setdefault(tensor.untyped_storage()._cdata, []).append(value)

    def _save_before_write(self, tensor: Tensor) -> None:
        """Clone what is kept of the memory that is about to be overwritten."""
        for value in self._kept.pop(tensor.untyped_storage()._cdata, []):
            assert value.data is not None
            value.data = value.data.clone()

    def _merge_write(self, tensor: Tensor, old: Value | None, geometry: Geometry, written: Value) -> Value:
        """Record that a view or the base of `tensor` was written: some of its entries are others now."""
        at, source = geometry.positions_in(Geometry.of(tensor), tensor.device)
        before = tensor.detach().clone() if old is None else old
        return self._append(view_write, (before, written, at, source), tensor, written.producer.module)  # type: ignore[union-attr]

    def _append(self, function: Any, args: tuple[Any, ...], out: Tensor, module: str) -> Value:
        """Record a call that the dispatcher does not see."""
        op = Op(len(self.ops), function, args, {}, module)
        self.ops.append(op)
        value = self._new_value(out, op)
        op.outputs.append(value)
        return value

    def _written(self, func: Any) -> tuple[tuple[int, str], ...]:
        """The arguments that an operator writes, from its schema."""
        if func not in self._written_arguments:
            arguments = func._schema.arguments if hasattr(func, "_schema") else ()
            self._written_arguments[func] = tuple(
                (i, a.name) for i, a in enumerate(arguments) if a.alias_info is not None and a.alias_info.is_write
            )
        return self._written_arguments[func]

    def _wanted_operation(self, op: Op) -> bool:
        if not any(name.startswith(op.name + ":") for name in self._wanted):
            return False
        return f"{op.name}:{sum(o.name == op.name for o in self.ops) - 1}" in self._wanted

    @staticmethod
    def _collapses_space(op: Op) -> bool:
        """Whether the operation may be the step from the last feature map to a vector; its input is a likely layer."""
        before, after = op.inputs[0], op.outputs[0]
        return after is not None and before.positions > 1 and after.positions == 1

    def _note_output(self, path: str, output: Any) -> None:
        value = self.value_of(output) if isinstance(output, Tensor) else None
        runs = self.outputs_of.setdefault(path, [])
        runs.append(value)
        if value is None:
            return
        # The outermost of the modules that return it; not one that only hands it on, like a dropout behind it.
        if value not in self.module_of or _inside(self.module_of[value], path):
            self.module_of[value] = path
        if path in self._wanted or f"{path}#{len(runs) - 1}" in self._wanted:
            self._keep([output])
            self._keep_all = True

    def _mine(self) -> bool:
        """Whether a hook was called by the recorded pass: another thread may run the model at the same time."""
        return threading.get_ident() == self._thread

    def _entering(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any) -> None:
            if self._mine():
                self._modules.append(path)

        return hook

    def _leaving(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if not self._mine():
                return
            self._modules.pop()
            self._paused = True  # what follows is bookkeeping, not the model's work
            try:
                self._note_output(path, output)
            finally:
                self._paused = False

        return hook


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


def _inside(path: str, other: str) -> bool:
    """Whether a module path lies inside another."""
    return not other or path.startswith(other + ".")
