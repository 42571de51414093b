"""Which layers the initial map is taken from: known for five families of networks, found by recording for the rest.

A layer has a name: a module's path for what the module returned (last, if it ran several times), ``path#k`` for what
its k-th run returned, ``aten.<op>:<k>`` for the output of the k-th call of an operation that no module returns. Several
layers are written with `AND` between their names.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from hedgeseg.attribution.attention import mixes_images
from hedgeseg.attribution.errors import LayerError
from hedgeseg.attribution.feature_map import grid_of
from hedgeseg.attribution.recording import Recording
from hedgeseg.attribution.rules.linear import is_weighted
from hedgeseg.attribution.rules.structural import AVERAGES, COPIES, MAXIMA, MOVES, PRODUCTS, VIEWS, signal_of
from hedgeseg.attribution.tape import Op, Tape, Value
from hedgeseg.attribution.tokens import last_tokens, pooling_attention
from hedgeseg.attribution.tracing import leading_to

LayerLike = str | nn.Module | Sequence[str | nn.Module] | None

AND = " + "

aten = torch.ops.aten
CUTS = frozenset({aten.slice, aten.narrow, aten.split, aten.split_with_sizes, aten.chunk})


def _relu_after_last_conv(features: nn.Module) -> str:
    children = list(features.named_children())
    last = max(i for i, (_, child) in enumerate(children) if isinstance(child, nn.Conv2d))
    return next(name for name, child in children[last:] if isinstance(child, nn.ReLU))


# Class name to the path of the layer below a module of that class.
FAMILIES: dict[str, Callable[[nn.Module], str]] = {
    "VGG": lambda m: "features." + _relu_after_last_conv(m.get_submodule("features")),
    "AlexNet": lambda m: "features",
    "ResNet": lambda m: "layer4",
    "DenseNet": lambda m: "features",
    "Inception3": lambda m: "Mixed_7c",
}


def clean(path: str) -> str:
    """A module path without the segments that compilation adds."""
    return ".".join(part for part in path.split(".") if part != "_orig_mod")


def family_layer(model: nn.Module) -> str | None:
    """The layer that the method's authors use, where the model is or holds exactly one network of a known family."""
    found = []
    for path, module in model.named_modules():
        families = [FAMILIES[c.__name__] for c in type(module).__mro__ if c.__name__ in FAMILIES]
        if families:
            try:
                relative = families[0](module)
                module.get_submodule(relative)
            except (AttributeError, StopIteration, ValueError):
                continue  # a class of the same name that is built otherwise
            found.append(clean(f"{path}.{relative}" if path else relative))
    return found[0] if len(found) == 1 else None


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
    _check_positions(tape, path, value)
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


def find_layers(recording: Recording, by_user: Sequence[str], by_family: str | None) -> dict[str, Value]:
    """The layers to start from, by name: the user's choice, else that of the family, else the last feature maps.

    A family's layer is taken where all that the logits know of the images passed it: not in a network that pools other
    maps as well.

    Raises:
        LayerError: If a chosen layer is no feature map, or none was found.
    """
    if by_user:
        found = {path: find_value(recording, path) for path in by_user}
        return {path: value for i, (path, value) in enumerate(found.items()) if value not in list(found.values())[:i]}
    if by_family is not None and recording.tape.outputs_of.get(by_family, [None])[-1] is not None:
        value = find_value(recording, by_family)
        if all_pass(recording, value):
            return {by_family: value}
    return find_last_maps(recording)


def all_pass(recording: Recording, layer: Value) -> bool:
    """Whether every path from the images to the logits passes a layer."""
    seen, todo = {layer}, [recording.logits_value]
    while todo:
        value = todo.pop()
        if value in seen:
            continue
        if value.producer is None:
            return False
        seen.add(value)
        todo.extend(value.producer.inputs)
    return True


def find_last_maps(recording: Recording) -> dict[str, Value]:
    """The last feature maps: what enters the last spatial pooling, mean or flattening on every path to the logits.

    Several where maps are pooled apart from each other: late fusion, pooling of several scales, two calls of one trunk.
    Where the maps have shrunk to one position already, it is the map that is flattened; where a convolution as large as
    the map takes the place of flattening (a fully convolutional head), what that convolution reads.

    Returns:
        Name and value of each, in order of execution.

    Raises:
        LayerError: If there is no such step.
    """
    tail, maps = _vector_tail(recording.logits_value)
    collapses = [op for op in tail if _pools(op) and op.inputs[0] in maps]
    flattens = [op for op in tail if _pools(op) and len(op.output.shape) == 2 and _feeds_weights(op, tail)]
    # Rather from a map, though of one position, than from the vectors of its copies.
    flattens = [op for op in flattens if len(op.inputs[0].shape) == len(recording.tape.images.shape)] or flattens
    reads_whole = [op for op in tail if op.inputs[0] in maps]
    attends = [op for op in tail if mixes_images(op) and any(v in maps for v in op.inputs)]
    found: dict[Value, str] = {}
    for step in collapses or attends or flattens[-1:] or reads_whole[-1:]:
        value = _before(step, len(recording.tape.images.shape))
        found[value] = name_of(recording.tape, value)
        _check_positions(recording.tape, found[value], value)
    if found:
        return {found[value]: value for value in sorted(found, key=lambda v: v.order)}
    raise LayerError(
        "no step from a feature map to a vector was found in this model (no pooling, mean or flattening before the "
        "logits): name the layer to start from with layer='<module path>'"
    )


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


def _before(step: Op, dimensions: int) -> Value:
    """The map that a step to a vector reads, or the tokens that it reads them from."""
    value = step.inputs[0]
    if len(value.shape) < dimensions and step.packet in MOVES:
        tokens = last_tokens(value)
        if tokens is not None:
            return tokens
    pooling = pooling_attention(step.output)
    if pooling is not None:
        return pooling
    while value.producer is not None and _hands_on_a_map(value, step, dimensions):
        value = value.producer.inputs[0]
    return value


def _check_positions(tape: Tape, name: str, value: Value) -> None:
    """Raise unless a value is a map, or tokens that can be laid out as one."""
    dimensions = len(tape.images.shape)
    if len(value.shape) < min(4, dimensions) and grid_of(tape, value) is None:
        raise LayerError(
            f"{name!r} has shape {tuple(value.shape)}: tokens that were not made of a map by operations that keep "
            f"their order, so their positions are not known. Name a layer whose positions are by layer=, or use a "
            "method that asks for nothing but logits, such as gradient, integrated_gradients, occlusion or rise."
        )


def _hands_on_a_map(value: Value, step: Op, dimensions: int) -> bool:
    """Whether the map is to be looked for further back: behind a pooling, a copy, a cut or a flattening of positions.

    A view that has as many dimensions as the images is a map already.
    """
    op = value.producer
    assert op is not None
    if step.packet in VIEWS and op.packet in AVERAGES:
        return True
    if op.packet in CUTS and len(op.inputs[0].shape) == len(value.shape) == dimensions:
        return True
    if op.packet is aten.slice and len(value.shape) < dimensions:
        return True  # class and register tokens cut away
    if op.packet in VIEWS and len(value.shape) == dimensions:
        return False
    return op.packet in VIEWS | COPIES and op.inputs[0].positions > 1


def _vector_tail(end: Value) -> tuple[list[Op], set[Value]]:
    """The operations between the maps and the logits, in order, and all maps.

    What is made of vectors alone stays a vector, in whichever shape it is kept. A gate's pooling is not among the
    operations: what it gates is a map, or a vector that was one.
    """
    maps = _maps(end)
    seen: set[Op] = set()
    todo = [end]
    while todo:
        value = todo.pop()
        made_by = value.producer
        if made_by is None or made_by in seen or value in maps:
            continue
        seen.add(made_by)
        operands = made_by.inputs
        signal = signal_of(*operands) if made_by.packet in PRODUCTS and len(operands) == 2 else None
        todo.extend(operands if signal is None else [signal])
    return sorted(seen, key=lambda op: op.index), maps


def _maps(end: Value) -> set[Value]:
    """The values that still have positions, of those that `end` depends on; the images among them.

    Positions are gone where an image is one column of numbers (or several, one for each copy that it had before).
    Rows that were made of positions are positions still.
    """
    maps: set[Value] = set()
    for op in leading_to(end):
        before = [v for v in op.inputs if v in maps or v.producer is None]
        maps.update(before)
        columns = all(map(_is_column, before))
        copies = max((v.known_samples.copies(v.shape) for v in before), default=0)
        for value in op.outputs if before else ():
            if value is None or value.samples is None:
                continue
            kept = value.samples.copies(value.shape)
            if not _is_column(value) or kept > copies or (columns and kept == copies):
                maps.add(value)
    return maps


def _is_column(value: Value) -> bool:
    """Whether a copy of an image is one column of numbers, whichever dimension it lies along."""
    rest = list(value.shape)
    del rest[value.known_samples.dim : value.known_samples.dim + 1]
    return max(rest, default=1) == math.prod(rest)


def _pools(op: Op) -> bool:
    """Whether an operation may take maps (N, C, *space) to vectors without weights."""
    pools = op.packet in AVERAGES | MAXIMA | VIEWS or op.name in ("aten.amax", "aten.max", "aten.logsumexp")
    return pools and bool(op.inputs) and len(op.inputs[0].shape) >= 3 and op.outputs[0] is not None


def _feeds_weights(step: Op, ops: list[Op]) -> bool:
    """Whether any of the later operations multiplies by weights: the step is not the end of a convolutional head."""
    return any(op.index > step.index and is_weighted(op.packet) for op in ops)
