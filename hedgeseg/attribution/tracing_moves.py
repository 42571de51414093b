"""How kinds of operations carry the images of a batch: the transfers of `tracing_rules`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hedgeseg.attribution.batch_statistics import uses_batch
from hedgeseg.attribution.nodes import Op, Value
from hedgeseg.attribution.samples import NOWHERE, Samples
from hedgeseg.attribution.tracing import Found, Transfer

aten = torch.ops.aten


def same(op: Op) -> Samples | None:
    """Entries stay in their places, up to broadcasting; the operands must agree on the images."""
    found: Samples | None = None
    rank = len(op.output.shape)
    for value in op.inputs:
        samples = value.known_samples.moved(rank - len(value.shape))
        if found is not None and samples != found and samples.batch > 1:
            return None
        found = found or samples
    return found


def overwritten(op: Op) -> Samples | None:
    """``copy_(old, new)`` has nothing but the new entries."""
    new = op.argument(1, "src")
    value = new if isinstance(new, Value) else op.args[0]
    return value.known_samples.moved(len(op.output.shape) - len(value.shape))


def first(op: Op) -> Samples | None:
    """The images stay where they are in the first operand, which must be the only one or agree with the others."""
    found = {value.known_samples for value in op.inputs}
    return found.pop() if len(found) == 1 else None


def rows(last: int) -> Transfer:
    """An operation on the last dimensions, which must not hold the images."""

    def transfer(op: Op) -> Samples | None:
        samples = first(op)
        return samples if samples is not None and samples.dim < len(op.inputs[0].shape) - last else None

    return transfer


def leading(dims: int) -> Transfer:
    """An operation on all but the first dimensions (N, C of pooling and upsampling)."""

    def transfer(op: Op) -> Samples | None:
        samples = first(op)
        return samples if samples is not None and samples.dim < dims else None

    return transfer


def along(position: int, name: str = "dim", default: Any = None) -> Transfer:
    """An operation within one dimension or several, which stay; entries move about if these hold the images."""

    def transfer(op: Op) -> Found:
        samples, rank = first(op), len(op.inputs[0].shape)
        if samples is None or samples.dim not in _dims(op.argument(position, name, default), rank):
            return samples
        return moved(op)

    return transfer


def within(position: int, name: str = "dim", default: Any = None) -> Transfer:
    """An operation that mixes all entries of a dimension, as softmax does, or of several."""

    def transfer(op: Op) -> Samples | None:
        samples, rank = first(op), len(op.inputs[0].shape)
        mixes = samples is not None and samples.dim in _dims(op.argument(position, name, default), rank)
        return None if mixes else samples

    return transfer


def reduced(position: int, keepdim: int, name: str = "dim") -> Transfer:
    """A reduction over one dimension, several, or (without a dimension, or an empty list) all."""

    def transfer(op: Op) -> Samples | None:
        samples, rank = first(op), len(op.inputs[0].shape)
        given = op.argument(position, name)
        if isinstance(given, Value):
            return same(op)  # ``max(a, b)``
        gone = _dims(given, rank) or set(range(rank))
        if samples is None or (samples.dim in gone and samples.batch > 1):
            return None
        if op.argument(keepdim, "keepdim", False):
            return samples
        return samples.moved(-sum(d < samples.dim for d in gone))

    return transfer


def removed(op: Op) -> Found:
    """``select`` and ``unbind``: a dimension disappears."""
    samples, rank = first(op), len(op.inputs[0].shape)
    (dim,) = _dims(op.argument(1, "dim", 0), rank)
    if samples is None or (dim == samples.dim and samples.batch > 1):
        return moved(op)
    if dim == samples.dim:
        return replace(samples, dim=NOWHERE, inner=1)
    return samples.moved(-int(dim < samples.dim))


def stacked(op: Op) -> Samples | None:
    """A new dimension before or behind that of the images."""
    samples = first(op)
    (dim,) = _dims(op.argument(1, "dim", 0), len(op.output.shape))
    return samples and samples.with_dimension(dim)


def concatenated(op: Op) -> Found:
    """Parts that agree; along the images' dimension they become copies."""
    parts = op.args[0]
    samples = first(op)
    (dim,) = _dims(op.argument(1, "dim", 0), len(op.output.shape))
    if samples is not None and (dim != samples.dim or all(isinstance(p, Value) for p in parts)):
        return samples
    return moved(op)


def permuted(op: Op) -> Samples | None:
    """The images go where their dimension goes."""
    samples, rank = op.inputs[0].known_samples, len(op.inputs[0].shape)
    order = list(range(rank))
    if samples.dim == NOWHERE:
        return samples
    if op.packet is aten.permute:
        order = [d % rank for d in op.argument(1, "dims")]
    elif rank > 1:
        one, other = (0, 1) if op.packet in (aten.t, aten.t_) else (op.args[1] % rank, op.args[2] % rank)
        order[one], order[other] = other, one
    return Samples(samples.batch, order.index(samples.dim), samples.inner)


def expanded(op: Op) -> Samples | None:
    """``expand`` and ``repeat``: new dimensions on the left; repeats of the images are copies behind each other."""
    value = op.inputs[0]
    return value.known_samples.moved(len(op.output.shape) - len(value.shape))


def reshaped(op: Op) -> Samples | None:
    """A view: the digit that tells the images keeps its weight in the row-major index of an entry."""
    value, shape = op.inputs[0], op.output.shape
    samples = value.known_samples
    if value.shape.numel() != shape.numel() or value.dtype != op.output.dtype:
        return None
    if samples.dim == NOWHERE:
        added = len(shape) > len(value.shape) and shape[0] == 1
        return samples.with_dimension(0) if added else samples
    weight = samples.inner * value.shape[samples.dim + 1 :].numel()
    fitting = []
    for dim, size in enumerate(shape):
        stride = shape[dim + 1 :].numel()
        if stride and weight % stride == 0 and (stride * size) % (weight * samples.batch) == 0:
            fitting.append(Samples(samples.batch, dim, weight // stride))
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    # A single image is a digit of one value, which fits in several places: most likely where a dimension has size 1.
    alone = [s for s in fitting if shape[s.dim] == 1 and s.inner == 1]
    same_place = [s for s in alone if s.dim == samples.dim]
    return (same_place or alone[::-1] or fitting)[0]


def unsqueezed(op: Op) -> Samples | None:
    """A dimension of size 1 more."""
    samples = op.inputs[0].known_samples
    return samples.with_dimension(op.args[1] % len(op.output.shape))


def padded(op: Op) -> Samples | None:
    """Padding of the last dimensions."""
    samples, rank = first(op), len(op.inputs[0].shape)
    amounts = op.argument(1, "pad")
    if samples is None:
        return None
    at = 2 * (rank - 1 - samples.dim)
    return None if any(amounts[at : at + 2]) and samples.batch > 1 else samples


def windows(op: Op) -> Samples | None:
    """``unfold``: the windows of one dimension in a new one at the end."""
    samples, rank = first(op), len(op.inputs[0].shape)
    return samples if samples is not None and samples.dim != op.args[1] % rank else None


def convolved(op: Op) -> Samples | None:
    """Dimension 0 of a convolution; its weights must be the same for all images."""
    value = op.args[0]
    alone = isinstance(value, Value) and len(op.inputs) == 1
    return value.known_samples if alone and value.known_samples.dim == 0 else None


def batch_normalised(op: Op) -> Samples | None:
    """Every channel (dimension 1) by itself; by numbers of its own where the statistics are recorded ones."""
    samples = first(op)
    fixed = not uses_batch(op)
    return samples if samples is not None and (fixed or samples.dim == 1) else None


def layer_normalised(op: Op) -> Found:
    """The last dimensions, as many as the normalised shape has."""
    return rows(len(op.argument(1, "normalized_shape")))(op)


def multiplied(op: Op) -> Samples | None:
    """Products of matrices, in batches or not, with a summand or without: images in rows, in columns or in batches."""
    summand = op.packet in (aten.addmm, aten.baddbmm, aten.addmm_, aten.baddbmm_)
    left, right = op.args[1:3] if summand else op.args[:2]
    rank = len(op.output.shape)
    found = []
    for factor, contracted in ((left, rank - 1), (right, rank - 2)):
        if isinstance(factor, Value):
            if factor.known_samples.dim == contracted and factor.known_samples.batch > 1:
                return None
            found.append(factor.known_samples)
    if summand and isinstance(op.args[0], Value):
        found.append(op.args[0].known_samples.moved(rank - len(op.args[0].shape)))
    # Rows of one factor against columns of the other, each with its images: all meet all.
    return found[0] if len(set(found)) == 1 or found[0].batch == 1 else None


def transposed_linear(op: Op) -> Found:
    """``linear``: features are the last dimension; the weights must be the same for all images."""
    return rows(1)(op) if len(op.inputs) == 1 and isinstance(op.args[0], Value) else None


def moved(op: Op) -> Found:
    """Entries are copied about: the operation is run on the images' numbers, and the result looked at."""
    batch = op.inputs[0].known_samples.batch
    if batch == 1 or not all(v.dtype.is_floating_point for v in op.inputs):
        return None
    device = next((a.device for a in _tensors(op)), None)

    def numbers(argument: Any) -> Any:
        if isinstance(argument, Value):
            samples = argument.known_samples
            shape = [1] * len(argument.shape)
            shape[samples.dim] = -1
            labels = samples.labels(argument.shape[samples.dim], device).to(torch.float32)
            return labels.view(shape).expand(argument.shape).contiguous()
        if isinstance(argument, Tensor) and argument.is_floating_point():
            return torch.full_like(argument, -1, dtype=torch.float32)  # nobody's
        return argument

    return [_recognised(y, batch) if isinstance(y, Tensor) else None for y in op.run(numbers)]


def _recognised(labels: Tensor, batch: int) -> Samples | None:
    """Where the images are in a tensor of their numbers; entries below 0 belong to nobody."""
    for dim, size in enumerate(labels.shape):
        copies, rest = divmod(size, batch)
        for inner in () if rest else range(1, copies + 1):
            if copies % inner:
                continue
            samples = Samples(batch, dim, inner)
            expected = samples.labels(size, labels.device).view(-1, *(1,) * (labels.ndim - 1 - dim))
            if bool(((labels == expected) | (labels < 0)).all()):
                return samples
    return None


def _tensors(op: Op) -> Iterable[Tensor]:
    flat = [*op.args, *op.kwargs.values()]
    nested = [b for a in flat if isinstance(a, (list, tuple)) for b in a]
    return (a for a in [*flat, *nested] if isinstance(a, Tensor))


def _dims(given: Any, rank: int) -> set[int]:
    if given is None or isinstance(given, bool):
        return set()
    return {d % max(1, rank) for d in (given if isinstance(given, (list, tuple)) else [given])}


def rolled(op: Op) -> Found:
    """``roll``, of all entries in a row if no dimension is given."""
    return along(2, "dims")(op) if op.argument(2, "dims") else moved(op)
