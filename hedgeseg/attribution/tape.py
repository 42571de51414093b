"""Records an unmodified model's forward pass as a list of ATen operations.

`Tape` is a `TorchDispatchMode`: while it is active, every ATen operation that touches something derived from the
images is appended as an `Op` over `Value` nodes. At this level functional calls, residual sums, concatenations, reused
modules and writes in place are all visible. The list is in static single assignment form: an operation that writes in
place makes a new `Value`, and the old one keeps its data if somebody needs it (it is cloned before the write).

Only what the propagation rules ask for is kept: `Keeps` says which tensors of an operation they need later.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from hedgeseg.attribution.aliasing import Geometry, WriteLog, view_write
from hedgeseg.attribution.custom_functions import CustomFunctions
from hedgeseg.attribution.fused import written_out
from hedgeseg.attribution.kept import Kept
from hedgeseg.attribution.modules import Modules
from hedgeseg.attribution.nodes import Keeps, Op, Value, found, replaced
from hedgeseg.attribution.operations import SOFTMAXES, VALUELESS, is_weighted

aten = torch.ops.aten


class Tape(TorchDispatchMode):
    """A recording of one forward pass.

    Args:
        images: The tensor from which everything recorded derives.
        keeps: For an operation about to run, what its rule needs.
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
        wanted: frozenset[str] = frozenset(),
        look: Callable[[Any, Any, list[Tensor]], None] | None = None,
        look_aside: Callable[[Any, Any, list[Tensor]], None] | None = None,
    ) -> None:
        super().__init__()
        self._functions = CustomFunctions(sys._getframe(1).f_code)
        self.images = Value(images.shape, images.dtype, pixels=True)
        self.ops: list[Op] = []
        self._keeps, self._wanted = keeps, wanted
        self._keep_all = False
        self._look, self._look_aside = look, look_aside
        self._paused = False
        self._values: Any = WeakTensorKeyDictionary()
        self._values[images] = self.images
        self._kept = Kept()
        self._kept.keep(self.images, images)
        self._attended = False
        self._writes = WriteLog()
        self._modules = Modules()
        self.outputs_of, self.module_of = self._modules.outputs_of, self._modules.module_of
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
        self._append(function, tuple(map(self._recorded, tensors)), out, self._modules.running)
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
        module = self._modules.running
        op = Op(len(self.ops), func, op_args, op_kwargs, module, names, call=self._functions.running())
        keeps = self._keeps(op)
        # Indices and masks are small, and a rule that moves relevance by them could not do without.
        self._keep([t for t in tensors if keeps.inputs or self._keep_all or not t.is_floating_point()])
        for tensor in written:
            self._kept.save_before_write(tensor)
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
        self._keep_recent(op, outputs)
        return out

    @contextmanager
    def following(self, model: nn.Module) -> Iterator[None]:
        """Keep account of which module runs and what it returns, by hooks that are removed at the end."""
        with self._modules.following(model, self._returned):
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
            self._kept.keep(layer.output, out.detach().reshape(layer.output.shape))
        self.ops[-1:] = [layer, unfolded]

    def _recorded(self, argument: Any) -> Any:
        value = self.value_of(argument) if isinstance(argument, Tensor) else None
        return argument if value is None else value

    def _new_value(self, tensor: Tensor, op: Op) -> Value:
        pixels = not is_weighted(op.packet) and all(v.pixels for v in op.inputs)
        value = Value(tensor.shape, tensor.dtype, op, pixels)
        self._values[tensor] = value
        self._writes.mark_fresh(tensor)
        return value

    def _keep_recent(self, op: Op, outputs: list[Any]) -> None:
        """Keep what was computed since the attention before the last one, until another follows.

        The layer that a network with attention is explained from lies before its last attention, which is known to be
        the last only at the end; the head behind it needs the whole block.
        """
        if op.packet in SOFTMAXES:
            self._kept.forget_older()
            self._attended = True
        if self._attended and not self._keep_all:
            for tensor in outputs:
                value = self._values.get(tensor) if isinstance(tensor, Tensor) else None
                if value is not None:
                    self._kept.keep_for_now(value, tensor)

    def _keep(self, tensors: list[Tensor]) -> None:
        for tensor in tensors:
            value = self.value_of(tensor)
            if value is not None:
                self._kept.keep(value, tensor)

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

    def _returned(self, path: str, output: Any) -> None:
        """Note what a module returned."""
        paused, self._paused = self._paused, True  # what follows is bookkeeping, not the model's work
        try:
            value = self.value_of(output) if isinstance(output, Tensor) else None
            run = self._modules.note(path, value)
            if value is not None and (path in self._wanted or f"{path}#{run}" in self._wanted):
                self._keep([output])
                self._keep_all = True
        finally:
            self._paused = paused
