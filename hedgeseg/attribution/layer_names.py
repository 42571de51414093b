"""Names of layers, and what they name in a recording.

A layer has a name: a module's path for what the module returned (last, if it ran several times), ``path#k`` for what
its k-th run returned, ``aten.<op>:<k>`` for the output of the k-th call of an operation that no module returns. Several
layers are written with `AND` between their names.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from torch import nn

from hedgeseg.attribution.errors import LayerError
from hedgeseg.attribution.feature_map import grid_of
from hedgeseg.attribution.nodes import Value
from hedgeseg.attribution.recording import Recording
from hedgeseg.attribution.tape import Tape

LayerLike = str | nn.Module | Sequence[str | nn.Module] | None

AND = " + "


def clean(path: str) -> str:
    """A module path without the segments that compilation adds."""
    return ".".join(part for part in path.split(".") if part != "_orig_mod")


def paths_of(model: nn.Module, layer: LayerLike) -> tuple[str, ...]:
    """The names of the layers that a user chose: clean paths, without repetition; none if there was no choice.

    Raises:
        LayerError: If the model has no such layer, or the choice is an empty list; lists the nearest names.
    """
    if layer is None:
        return ()
    chosen = layer.split(AND.strip()) if isinstance(layer, str) else [layer] if isinstance(layer, nn.Module) else layer
    names = [path_of(model, one.strip() if isinstance(one, str) else one) for one in chosen]
    if not names:
        raise LayerError(f"layer={layer!r} names no layer; leave it out for the default, or name one or several")
    return tuple(dict.fromkeys(names))


def path_of(model: nn.Module, layer: str | nn.Module) -> str:
    """The clean path of a layer that was given by name or as the module itself.

    Of a module with several names it is the first, which is the one that runs.

    Raises:
        LayerError: If the model has no such layer; lists the nearest names.
    """
    paths = {clean(name): module for name, module in model.named_modules(remove_duplicate=False)}
    first = {module: clean(name) for name, module in model.named_modules()}
    if isinstance(layer, nn.Module):
        if layer in first:
            return first[layer]
        raise LayerError(f"layer={type(layer).__name__} is no part of this model ({type(model).__name__})")
    name = clean(layer)
    if name.startswith("aten."):
        return name
    path, run, number = name.partition("#")
    if path not in paths and path.startswith("module."):  # a name inside a DDP wrapper
        path = path.removeprefix("module.")
    if path in paths and (number.isdecimal() or not run):
        return first[paths[path]] + run + number
    near = difflib.get_close_matches(name, [p for p in paths if p], n=5, cutoff=0.3)
    raise LayerError(
        f"layer={layer!r}: {type(model).__name__} has no such module. "
        f"Nearest names: {', '.join(near) if near else ', '.join(list(paths)[1:6])}"
    )


def find_value(recording: Recording, path: str) -> Value:
    """The feature map of a layer.

    Args:
        recording: A forward pass.
        path: The name of one layer.

    Returns:
        Its value.

    Raises:
        LayerError: If the module did not run, returned no tensor, or its output is not a feature map that the logits
            depend on.
    """
    tape = recording.tape
    module, run, number = path.partition("#")
    if path.startswith("aten."):
        value = _nth_output(tape, path)
    elif run and module in tape.outputs_of:
        values = tape.outputs_of[module]
        if int(number) >= len(values):
            last = len(values) - 1
            raise LayerError(f"layer={path!r}: {module!r} ran {last + 1} times in this forward pass, runs 0 to {last}")
        value = values[int(number)]
    elif path not in tape.outputs_of:
        ran = ", ".join(difflib.get_close_matches(path, [p for p in tape.outputs_of if p], n=3, cutoff=0.0))
        raise LayerError(f"layer={path!r} did not run in this forward pass; layers that did: {ran}, ...")
    else:
        value = tape.outputs_of[path][-1]
    if value is None:
        raise LayerError(f"layer={path!r} returns no tensor that depends on the images; choose one inside or before it")
    if len(value.shape) < 3:
        raise LayerError(
            f"layer={path!r} returns shape {tuple(value.shape)}, which has no positions; choose one before the pooling"
        )
    check_positions(tape, path, value)
    return value


def _nth_output(tape: Tape, name: str) -> Value | None:
    op_name, _, number = name.partition(":")
    number, _, output = number.partition(".")
    calls = [op for op in tape.ops if op.name == op_name]
    if not number.isdecimal() or int(number) >= len(calls):
        known = sorted({op.name for op in tape.ops})
        raise LayerError(f"layer={name!r}: {len(calls)} calls of {op_name!r} ran; operations that ran: {known}")
    outputs = calls[int(number)].outputs
    return outputs[int(output)] if output.isdecimal() and int(output) < len(outputs) else outputs[0]


def name_of(tape: Tape, value: Value) -> str:
    """A name that `find_value` understands."""
    path = tape.module_of.get(value)
    if path:
        runs = tape.outputs_of[path]
        return path if runs[-1] is value else f"{path}#{runs.index(value)}"
    op = value.producer
    if op is None:
        raise LayerError("the images themselves enter the last pooling: the model has no feature map")
    number = [o for o in tape.ops if o.name == op.name].index(op)
    return f"{op.name}:{number}" if op.outputs[0] is value else f"{op.name}:{number}.{op.outputs.index(value)}"


def check_positions(tape: Tape, name: str, value: Value) -> None:
    """Raise unless a value is a map, or tokens that can be laid out as one."""
    dimensions = len(tape.images.shape)
    if len(value.shape) < min(4, dimensions) and grid_of(tape, value) is None:
        raise LayerError(
            f"{name!r} has shape {tuple(value.shape)}: tokens that were not made of a map by operations that keep "
            f"their order, so their positions are not known. Name a layer whose positions are by layer=, or use a "
            "method that asks for nothing but logits, such as gradient, integrated_gradients, occlusion or rise."
        )
