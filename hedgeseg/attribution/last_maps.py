"""The last feature maps of any network, found on the tape: what its last pooling or flattening reads."""

from __future__ import annotations

import math

import torch

from hedgeseg.attribution.attention import mixes_images
from hedgeseg.attribution.branches import signal_of
from hedgeseg.attribution.errors import LayerError
from hedgeseg.attribution.layer_names import check_positions, name_of
from hedgeseg.attribution.nodes import Op, Value, leading_to
from hedgeseg.attribution.operations import AVERAGES, COPIES, CUTS, MAXIMA, MOVES, PRODUCTS, VIEWS, is_weighted
from hedgeseg.attribution.read_tokens import last_tokens, pooling_attention
from hedgeseg.attribution.recording import Recording

aten = torch.ops.aten


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
        check_positions(recording.tape, found[value], value)
    if found:
        return {found[value]: value for value in sorted(found, key=lambda v: v.order)}
    raise LayerError(
        "no step from a feature map to a vector was found in this model (no pooling, mean or flattening before the "
        "logits): name the layer to start from with layer='<module path>'"
    )


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
