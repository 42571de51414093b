"""Walks a tape backwards and routes relevance; does no arithmetic of its own beyond sums at forks.

The relevance of a `Value` of shape S is a tensor of shape (T, *S): one row for each of the T targets of an image. A
rule takes the relevance of an operation's outputs to the relevance of its inputs; the table `packet -> Rule` of a
method is its `RuleBook`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hedgeseg.attribution.explaining import full_precision
from hedgeseg.attribution.nodes import Op, Value
from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.rule import Relevance, RuleBook
from hedgeseg.attribution.rules.rule import Rule as Rule  # where extensions of 0.1 find it
from hedgeseg.attribution.samples import per_sample, spread
from hedgeseg.attribution.stages import Stages
from hedgeseg.attribution.tape import Tape

# Hedging multiplies a sample's absolute relevance by less than 3 per layer: 16 operations are far from any limit.
RESCALED_EVERY = 16


@dataclass
class Conservation:
    """The relevance that passed one operation.

    Attributes:
        op: The operation, such as ``aten.convolution``.
        module: The module in whose forward it ran.
        arrived: Sum of the relevance of its outputs, float64 (T, N), in one unit for all operations of a call.
        left: Sum of the relevance of its inputs, likewise.
    """

    op: str
    module: str
    arrived: Tensor
    left: Tensor


@torch.no_grad()
def sweep(
    tape: Tape,
    start: Mapping[Value, Tensor],
    book: RuleBook,
    stops: Sequence[Value] = (),
    scale: Mapping[Value, float] | None = None,
    free: bool = True,
    report: list[Conservation] | None = None,
    stages: Stages | None = None,
) -> dict[Value, Tensor]:
    """Propagate relevance from `start` towards the images.

    Args:
        tape: The recording.
        start: Relevance to begin with, (T, *shape) for each value.
        book: The rules.
        stops: Values whose relevance is wanted; it is not propagated further. The images always are.
        scale: Factors applied to a value's total relevance before it is propagated further.
        free: Drop the recorded tensors as they are passed; the tape can't be swept again.
        report: If given, gets one entry per operation passed.
        stages: If given, keeps the relevance of the stages that are passed, and ends the sweep when it has all.

    Returns:
        The relevance of the images and of each stop that any reached; for an equivariant book up to one positive factor
        per target and image.

    Raises:
        UnsupportedOpError: If relevance reaches an operation that the book has no rule for.
    """
    with full_precision(next(iter(start.values()))):
        return _sweep(tape, dict(start), book, {tape.images, *stops}, scale or {}, free, report, stages)


def _sweep(
    tape: Tape,
    arriving: dict[Value, Tensor],
    book: RuleBook,
    ends: set[Value],
    scale: Mapping[Value, float],
    free: bool,
    report: list[Conservation] | None,
    stages: Stages | None,
) -> dict[Value, Tensor]:
    passed_ops = 0
    # What a relevance now is, over what it would be had it not been kept in range.
    scaled = torch.ones((), dtype=torch.float64)
    for op in reversed(tape.ops):
        outputs = [None if v is None or v in ends else arriving.pop(v, None) for v in op.outputs]
        if any(r is not None for r in outputs):
            if scale:
                outputs = [
                    r if r is None or v is None or v not in scale else r * scale[v]
                    for v, r in zip(op.outputs, outputs, strict=True)
                ]
            if stages is not None and stages.passed(op, outputs, alone=not arriving):
                break
            op.check()
            passed = book.rule(op).function(op, outputs)
            if report is not None:
                report.append(_account(op, outputs, passed, scaled))
            for value, relevance in passed:
                before = arriving.get(value)
                arriving[value] = relevance if before is None else before + relevance
            passed_ops += 1
            if book.equivariant and arriving and passed_ops % RESCALED_EVERY == 0:
                factor = _rescale(arriving)
                scaled = scaled.to(factor.device) * factor
        if free:
            for made in op.outputs:
                if made is not None and made not in ends:
                    made.data = None
    return {value: r for value, r in arriving.items() if value in ends}


def _rescale(arriving: dict[Value, Tensor]) -> Tensor:
    """Bring every sample's absolute relevance, over all values that hold some, to 1; the factors (T, N)."""
    mass = sum(per_sample(r.abs(), value.known_samples) for value, r in arriving.items())
    assert isinstance(mass, Tensor)
    factor = safe_divide(torch.ones_like(mass), mass)
    for value, r in arriving.items():
        arriving[value] = r * spread(factor, r, value.known_samples)
    return torch.where(mass == 0, 1, factor).double()


def _account(op: Op, outputs: Sequence[Tensor | None], passed: Relevance, scaled: Tensor) -> Conservation:
    arrived = [
        per_sample(r, v.known_samples)
        for v, r in zip(op.outputs, outputs, strict=True)
        if v is not None and r is not None
    ]
    left = [per_sample(r, value.known_samples) for value, r in passed]
    nothing = torch.zeros_like(arrived[0])
    totals = (sum(parts, nothing) for parts in (arrived, left))
    return Conservation(op.name, op.module, *(total.double() / scaled.to(total.device) for total in totals))
