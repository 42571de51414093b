"""Which layer the initial map is taken from: known for five families of networks, found by recording for the rest."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from torch import nn

from hedgeseg.attribution.attention import ADVICE, is_attention
from hedgeseg.attribution.errors import LayerError
from hedgeseg.attribution.recording import Recording
from hedgeseg.attribution.rules.linear import is_weighted
from hedgeseg.attribution.rules.structural import AVERAGES, COPIES, MAXIMA, VIEWS
from hedgeseg.attribution.tape import Op, Tape, Value

LayerLike = str | nn.Module | None


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


def path_of(model: nn.Module, layer: str | nn.Module) -> str:
    """The clean path of a layer that was given by name or as the module itself.

    Raises:
        LayerError: If the model has no such layer; lists the nearest names.
    """
    paths = {clean(name): module for name, module in model.named_modules(remove_duplicate=False)}
    if isinstance(layer, nn.Module):
        for name, module in paths.items():
            if module is layer:
                return name
        raise LayerError(f"layer={type(layer).__name__} is no part of this model ({type(model).__name__})")
    name = clean(layer)
    if name in paths or name.startswith("aten."):
        return name
    if name.startswith("module.") and name.removeprefix("module.") in paths:  # a name inside a DDP wrapper
        return name.removeprefix("module.")
    near = difflib.get_close_matches(name, [p for p in paths if p], n=5, cutoff=0.3)
    raise LayerError(
        f"layer={layer!r}: {type(model).__name__} has no such module. "
        f"Nearest names: {', '.join(near) if near else ', '.join(list(paths)[1:6])}"
    )


def find_value(recording: Recording, path: str) -> Value:
    """The feature map of a layer.

    Args:
        recording: A forward pass.
        path: A module path, or ``aten.<op>:<k>`` for the output of the k-th call of an operation.

    Returns:
        Its value.

    Raises:
        LayerError: If the module did not run, returned no tensor, or its output is not a feature map that the logits
            depend on.
    """
    tape = recording.tape
    if path.startswith("aten."):
        value = _nth_output(tape, path)
    elif path not in tape.outputs_of:
        ran = ", ".join(difflib.get_close_matches(path, [p for p in tape.outputs_of if p], n=3, cutoff=0.0))
        raise LayerError(f"layer={path!r} did not run in this forward pass; layers that did: {ran}, ...")
    else:
        value = tape.outputs_of[path]
    if value is None:
        raise LayerError(f"layer={path!r} returns no tensor that depends on the images; choose one inside or before it")
    if len(value.shape) < 3:
        raise LayerError(
            f"layer={path!r} returns shape {tuple(value.shape)}, which has no positions; choose one before the pooling"
        )
    return value


def _nth_output(tape: Tape, name: str) -> Value | None:
    op_name, _, number = name.partition(":")
    calls = [op for op in tape.ops if op.name == op_name]
    if not number.isdecimal() or int(number) >= len(calls):
        known = sorted({op.name for op in tape.ops})
        raise LayerError(f"layer={name!r}: {len(calls)} calls of {op_name!r} ran; operations that ran: {known}")
    return calls[int(number)].outputs[0]


def find_last_map(recording: Recording) -> tuple[str, Value]:
    """The last feature map: what enters the last spatial pooling, mean or flattening before the logits.

    Where the maps have shrunk to one position already, it is the map that is flattened; where a convolution as large as
    the map takes the place of flattening (a fully convolutional head), what that convolution reads.

    Returns:
        The name (a module path if a module returned it, else ``aten.<op>:<k>``) and the value.

    Raises:
        LayerError: If there is no such step.
    """
    tail = _vector_tail(recording.logits_value)
    collapses = [op for op in tail if _pools(op) and not _is_vector(op.inputs[0])]
    flattens = [op for op in tail if _pools(op) and len(op.output.shape) == 2 and _feeds_weights(op, tail)]
    reads_whole = [op for op in tail if op.inputs[0].positions > 1]
    for step in (collapses or flattens or reads_whole)[-1:]:
        value = step.inputs[0]
        while value.producer is not None and _hands_on_a_map(value, step, len(recording.tape.images.shape)):
            value = value.producer.inputs[0]
        name = name_of(recording.tape, value)
        if len(value.shape) < min(4, len(recording.tape.images.shape)):
            advice = ADVICE if any(map(is_attention, recording.tape.ops)) else "Name a layer with one by layer=."
            raise LayerError(
                f"what enters the last pooling or selection is {name!r} of shape {tuple(value.shape)}: tokens, not a "
                f"map over positions. {advice}"
            )
        return name, value
    raise LayerError(
        "no step from a feature map to a vector was found in this model (no pooling, mean or flattening before the "
        "logits): name the layer to start from with layer='<module path>'"
    )


def name_of(tape: Tape, value: Value) -> str:
    """A name that `find_value` understands."""
    if tape.module_of.get(value):
        return tape.module_of[value]
    op = value.producer
    if op is None:
        raise LayerError("the images themselves enter the last pooling: the model has no feature map")
    return f"{op.name}:{[o for o in tape.ops if o.name == op.name].index(op)}"


def _hands_on_a_map(value: Value, step: Op, dimensions: int) -> bool:
    """Whether the map is to be looked for further back: behind a pooling, a copy or a flattening of its positions.

    A view that has as many dimensions as the images is a map already.
    """
    op = value.producer
    assert op is not None
    if step.packet in VIEWS and op.packet in AVERAGES:
        return True
    if op.packet in VIEWS and len(value.shape) == dimensions:
        return False
    return op.packet in VIEWS | COPIES and op.inputs[0].positions > 1


def _vector_tail(value: Value) -> list[Op]:
    """The operations between the maps and the logits, in order: all that is left behind any map of several positions.

    A gate's pooling is not among them: what it gates is a map.
    """
    seen: set[Op] = set()
    todo = [value]
    while todo:
        value = todo.pop()
        if value.producer is not None and value.producer not in seen and _is_vector(value):
            seen.add(value.producer)
            todo.extend(value.producer.inputs)
    return sorted(seen, key=lambda op: op.index)


def _is_vector(value: Value) -> bool:
    """Whether a sample is one column of numbers, whichever dimension it lies along."""
    return max(value.shape[1:], default=1) == value.shape[1:].numel()


def _pools(op: Op) -> bool:
    """Whether an operation may take maps (N, C, *space) to vectors without weights."""
    pools = op.packet in AVERAGES | MAXIMA | VIEWS or op.name in ("aten.amax", "aten.max", "aten.logsumexp")
    return pools and bool(op.inputs) and len(op.inputs[0].shape) >= 3 and op.outputs[0] is not None


def _feeds_weights(step: Op, ops: list[Op]) -> bool:
    """Whether any of the later operations multiplies by weights: the step is not the end of a convolutional head."""
    return any(op.index > step.index and is_weighted(op.packet) for op in ops)
