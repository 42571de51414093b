"""Numbers that are not finite: found wherever a network makes them, also where it swallows them later.

A NaN in a map is seen by everybody, but few reach one: ReLU6, max-pooling, clamps, divisions and selections turn what
is not finite into ordinary numbers, and the map would explain those. While a network runs, whatever enters such an
operation is therefore summed up (`Suspicion`), one pass over numbers that are at hand. Only if a sum is not finite is
the network run again, image by image, with everything kept, to name the first operation that is to blame.

Minus infinity that a constant brings in, as attention masks do, is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hedgeseg.attribution.errors import NonFiniteError
from hedgeseg.attribution.nodes import Keeps, Op, found
from hedgeseg.attribution.operations import CONVOLUTIONS, COPIES, NORMALISATIONS, PRODUCTS, SUMS, VIEWS, WEIGHTED
from hedgeseg.attribution.tape import Tape

aten = torch.ops.aten

# Every number of their inputs reaches their outputs, and what is not finite stays so.
_HAND_ON = (
    (WEIGHTED - CONVOLUTIONS)
    | NORMALISATIONS
    | SUMS
    | PRODUCTS
    | COPIES
    | VIEWS
    | {
        aten.permute, aten.transpose, aten.t, aten.expand, aten.cat, aten.stack, aten.flip, aten.roll, aten.bmm,
        aten.baddbmm, aten.mean, aten.sum, aten._adaptive_avg_pool2d, aten.pixel_shuffle, aten.pixel_unshuffle,
        aten.channel_shuffle, aten.split, aten.split_with_sizes, aten.chunk, aten.unbind, aten.neg, aten.neg_,
        aten.abs, aten.abs_,
    }
)  # fmt: skip

# Views of a part: what is in the rest may never be used.
_PARTS = frozenset(
    {aten.slice, aten.select, aten.narrow, aten.split, aten.split_with_sizes, aten.chunk, aten.unbind, aten.diagonal}
)


def reads_all(packet: Any, args: Sequence[Any]) -> bool:
    """Whether what is not finite among the inputs of an operation is found in its outputs as well."""
    if packet not in CONVOLUTIONS:
        return packet in _HAND_ON
    x, weight, _, stride, padding, dilation, transposed = args[:7]
    if transposed:
        return True
    for i, (size, kernel) in enumerate(zip(x.shape[2:], weight.shape[2:], strict=True)):
        step, pad, apart = (v[i] if len(v) > 1 else v[0] for v in (stride, padding, dilation))
        left_over = (size + 2 * pad - apart * (kernel - 1) - 1) % step
        if step > kernel or apart > 1 or left_over > pad:
            return False
    return True


@dataclass
class Suspicion:
    """Sums of everything that entered operations which may hide what is not finite."""

    sums: list[Tensor] = field(default_factory=list)

    def look(self, packet: Any, args: Sequence[Any], tensors: Sequence[Tensor]) -> None:
        """Note the inputs of an operation that is about to run."""
        if reads_all(packet, args):
            if packet in NORMALISATIONS:  # a variance that is infinite makes everything the same
                self.add([t for t in tensors if t.ndim == 1])
            return
        self.add(tensors)

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Note tensors."""
        for t in tensors:
            if t.is_floating_point():
                self.sums.append(t.sum(dtype=torch.float32 if t.dtype in (torch.float16, torch.bfloat16) else t.dtype))
            elif t.is_complex():
                self.sums.append(t.abs().sum())

    def confirmed(self) -> bool:
        """Whether a sum was not finite, read once for all of them."""
        return bool(self.sums) and not bool(torch.stack([s.double() for s in self.sums]).isfinite().all())


def refuse_non_finite(model: nn.Module, images: Tensor, logits: Tensor) -> None:
    """Run a model on one image after the other and raise if it makes numbers that are not finite.

    Args:
        model: In evaluation mode.
        images: (N, C, *space), finite.
        logits: What the model returned for the batch, (N, K).

    Raises:
        NonFiniteError: Names the images and the first operation.
    """
    faults: dict[int, str] = {}
    for i in range(len(images)):
        fault = _first_fault(model, images[i : i + 1])
        if fault is not None:
            faults[i] = fault
        if i not in faults and _bad(logits[i], masked=True):
            faults[i] = f"the logits of the batch hold {_kind(logits[i])}"
    if faults:
        raise NonFiniteError(faults)


def _first_fault(model: nn.Module, image: Tensor) -> str | None:
    own = image.detach().clone()
    named = [*model.named_parameters(), *model.named_buffers()]
    storages = {t.untyped_storage()._cdata: name for name, t in named}
    buffers = {name for name, _ in model.named_buffers()}
    aside: list[str] = []

    def look_aside(packet: Any, args: Any, tensors: Sequence[Tensor]) -> None:
        for t in tensors if packet not in VIEWS | _PARTS else ():
            if (name := storages.get(t.untyped_storage()._cdata)) is not None and _bad(t, masked=True):
                kind = "buffer" if name in buffers else "weights"
                aside.append(f"{packet} is given {_kind(t)} in the {kind} {name!r}")

    tape = Tape(own, lambda op: Keeps(inputs=True, outputs=True), look_aside=look_aside)
    try:
        with torch.no_grad(), tape.following(model), tape:
            model(own)
    except Exception:  # a model that takes no image alone; what it returns for the batch is judged by others
        return None
    names = {id(t): name for name, t in named}
    for op in tape.ops:
        where = f"in module {op.module!r}" if op.module else "in the model's own forward"
        given = _bad_constant(op)
        if given is not None:
            name = names.get(id(given)) or storages.get(given.untyped_storage()._cdata)
            return f"{op.name} {where} is given {_kind(given)} in its weights" + (f" {name!r}" if name else "")
        for value in op.outputs:
            if value is not None and value.data is not None and _bad(value.data, _may_mask(op)):
                return aside[0] if aside else f"{op.name} {where} gives {_kind(value.data)}"
    return aside[0] if aside else None


def _bad_constant(op: Op) -> Tensor | None:
    """What is not finite among the weights and statistics of a layer."""
    if op.packet not in WEIGHTED | NORMALISATIONS:
        return None
    return next((t for t in found(Tensor, (op.args, op.kwargs)) if _bad(t, False)), None)


def _may_mask(op: Op) -> bool:
    """Whether minus infinity may come from a mask: a constant of the operation, or what masks entered it with."""
    if any(number == float("-inf") for number in found(float, (op.args, op.kwargs))):
        return True
    tensors = [*found(Tensor, (op.args, op.kwargs)), *(v.data for v in op.inputs if v.data is not None)]
    return any(t.is_floating_point() and bool((t == float("-inf")).any()) for t in tensors)


def _bad(t: Tensor, masked: bool) -> bool:
    if t.is_complex():
        t = torch.view_as_real(t)
    if not t.is_floating_point() or bool(t.isfinite().all()):
        return False
    return not masked or bool((t.isnan() | (t == float("inf"))).any())


def _kind(t: Tensor) -> str:
    t = torch.view_as_real(t) if t.is_complex() else t
    return "NaN" if bool(t.isnan().any()) else "infinity"
