"""Which tokens a network reads its answer from: those behind the last attention say nothing of the others."""

from __future__ import annotations

from hedgeseg.attribution.attention import attention_side, mixes_images, operands
from hedgeseg.attribution.nodes import Value
from hedgeseg.attribution.operations import COPIES, LAYERS, MOVES, VIEWS


def last_tokens(selected: Value) -> Value | None:
    """The last tokens that have a say in those that a network selects, such as its class token.

    That is what the values of the last attention are read from: behind it, the gradient is confined to the selected
    tokens.

    Args:
        selected: What one token, or a few, are taken from.

    Returns:
        None where there is no attention.
    """
    todo = {selected}
    seen = set(todo)
    while todo:
        value = max(todo, key=lambda v: v.order)
        todo.remove(value)
        op = value.producer
        if op is None:
            return None
        if mixes_images(op) and (side := attention_side(op)) is not None:
            return _read_from(operands(op)[1 - side])
        todo.update(v for v in op.inputs if v not in seen)
        seen.update(op.inputs)
    return None


def pooling_attention(vector: Value) -> Value | None:
    """The tokens that a vector is pooled from by attention with a single query; None where it is not."""
    value = vector
    while (op := value.producer) is not None:
        if mixes_images(op) and (side := attention_side(op)) is not None:
            queries = op.output.shape[-2 + side]
            return _read_from(operands(op)[1 - side]) if queries == 1 else None
        if op.packet not in VIEWS | MOVES | COPIES or len(op.inputs) != 1:
            return None
        value = op.inputs[0]
    return None


def _read_from(value: Value) -> Value:
    """What a network projects to a value: the input of the layer before it, laid out as it was computed."""
    projected = False
    while value.producer is not None:
        op = value.producer
        if op.packet in LAYERS and not projected and len(op.inputs) == 1:
            projected = True
        elif op.packet not in VIEWS | MOVES | COPIES or len(op.inputs) != 1:
            break
        value = op.inputs[0]
    return value
