"""How the images of a batch travel through a recorded forward pass: an abstract interpretation of the tape.

`trace_samples` gives every `Value` its `Samples`, or None where the entries of different images were mixed or where it
is not known what an operation did. A network whose logits are still told apart at the end may be explained in a batch:
no sum of a rule then couples two images. Any other is explained one image at a time, where there is nothing to couple.

How an operation says what it does to the images: a row of `TRANSFERS`, from its packet to a *transfer*, a function

    transfer(op) -> Samples | None                  the same for all outputs, or
    transfer(op) -> list[Samples | None]            one for each output

that reads the samples of its inputs (``value.known_samples``: what is mixed stays mixed, and asks no transfer) and the
recorded arguments. The transfers of `tracing_rules` cover most operations:

    same            every output entry comes from the input entry at its place (and others of the same image): pointwise
                    functions with broadcasting, sums, products, comparisons
    rows(k)         operations on the last k dimensions, such as pooling or upsampling over space, layer norm
    along(dim)      operations within one dimension, such as softmax, sort, cumulative sums
    reduced(dims)   the same, of which the dimension disappears: mean, maximum, norm
    reshaped        views: the digit keeps its place in the row-major order of all entries
    moved           entries are copied about: told by running the operation on the images' numbers

An operation without a row is taken to mix: adding one makes networks with it faster to explain in batches, never right
or wrong. A single image needs no digit, but its `Samples` still tell copies from channels and positions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hedgeseg.attribution.nodes import Op, Value, leading_to
from hedgeseg.attribution.samples import Samples
from hedgeseg.attribution.tape import Tape

# A number that python reads from a tensor may steer everything behind it.
_LEAVES_TORCH = frozenset({"aten._local_scalar_dense", "aten.item", "aten.is_nonzero", "aten.equal"})

Found = Samples | None | list[Samples | None]
Transfer = Callable[[Op], Found]


def trace_samples(tape: Tape, transfers: Mapping[Any, Transfer], end: Value) -> Op | None:
    """Find where the images are in every value that `end` depends on.

    Args:
        tape: The recording.
        transfers: How operations carry the images, by packet.
        end: The logits.

    Returns:
        None if the images can be told apart in all of them; else the first operation that mixes them, or of which it is
        not known whether it does.
    """
    batch = tape.images.shape[0]
    tape.images.samples = Samples(batch)
    ops = leading_to(end)
    needed = {v for op in ops for v in op.inputs} | {end}
    mixing = next((op for op in tape.ops if op.name in _LEAVES_TORCH), None)
    for op in ops:
        known = all(v.samples is not None for v in op.inputs)
        transfer = transfers.get(op.packet)
        found = transfer(op) if known and transfer is not None else None
        per_output = found if isinstance(found, list) else [found] * len(op.outputs)
        for value, samples in zip(op.outputs, per_output, strict=False):
            if value is None:
                continue
            if samples is not None and samples.fits(value.shape):
                value.samples = samples
            elif batch == 1:
                value.samples = Samples(1)
            elif mixing is None and value in needed:
                mixing = op
    if batch == 1:
        return None
    return end.producer if mixing is None and end.samples != Samples(batch) else mixing
