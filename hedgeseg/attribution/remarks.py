"""What a caller should know about the network that was explained: said once per call, with a remedy."""

from __future__ import annotations

from typing import Any

import torch

from hedgeseg.attribution.batch_statistics import couples_images
from hedgeseg.attribution.nodes import Op, Value
from hedgeseg.attribution.operations import BATCH_NORMS, COPIES, PROBABILITIES, VIEWS, WEIGHTED
from hedgeseg.attribution.recording import Recording
from hedgeseg.attribution.watch import sum_to_one


def remarks_on(recording: Recording) -> set[str]:
    """Remarks about a recorded forward pass."""
    found = {
        batch_statistics(op.module) for op in recording.tape.ops if op.packet in BATCH_NORMS and couples_images(op)
    }
    maker = _makes_probabilities(recording)
    if maker is not None:
        found.add(probabilities(maker.packet, maker.module))
    return found


def probabilities(packet: Any, module: str = "") -> str:
    """That the model returns probabilities, by which operation and where."""
    where = f" (in module {module!r})" if module else ""
    return (
        f"the model returns probabilities: its forward ends in {packet}{where}. Their gradient vanishes where the "
        "network is sure, so that maps of confident images are empty or noise. Explain the logits: leave that "
        "operation out of forward, or return what enters it as well and choose it by output=<index or key>"
    )


def batch_statistics(module: str = "") -> str:
    """That a batch norm has no statistics of its own."""
    where = f"in module {module!r} " if module else ""
    return (
        f"a batch norm {where}has no running statistics and normalises by those of the batch itself: what an image "
        "alone gets is explained, which is not what it gets among others. Train it with "
        "track_running_stats=True, or put a group or instance norm in its place"
    )


def _makes_probabilities(recording: Recording) -> Op | None:
    """The operation that makes the logits probabilities: the last one, or one behind which only arithmetic follows.

    In the second case the values tell: all lie within 0 and 1, and every way back leads through such an operation
    before it meets a weight. (An exponential is one where the rows sum to 1.)
    """
    last = _last_step(recording.logits_value)
    if last is not None and last.packet in PROBABILITIES:
        return last
    logits = recording.logits
    if not bool(((logits >= 0) & (logits <= 1)).all()):
        return None
    makers = PROBABILITIES | ({torch.ops.aten.exp} if sum_to_one(logits) else set())
    todo, seen, found = [recording.logits_value], set(), None
    while todo:
        op = todo.pop().producer
        if op is None or op.packet in WEIGHTED:
            return None
        if op in seen:
            continue
        seen.add(op)
        if op.packet in makers:
            found = op
        else:
            todo.extend(op.inputs)
    return found


def _last_step(value: Value) -> Op | None:
    """The operation that made a value, behind views and copies."""
    op = value.producer
    while op is not None and op.packet in VIEWS | COPIES:
        op = op.inputs[0].producer
    return op
