"""What the methods that start at the logits share: one recorded forward pass, the start, and the way to the pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from hedgeseg.attribution.errors import LayerError, UnsupportedOpError
from hedgeseg.attribution.inputs import check_targets
from hedgeseg.attribution.layers import name_of
from hedgeseg.attribution.methods.from_forward import refuse_layer
from hedgeseg.attribution.methods.from_layer import locate
from hedgeseg.attribution.methods.method import Problem
from hedgeseg.attribution.recording import Recording, record
from hedgeseg.attribution.rules.linear import is_weighted
from hedgeseg.attribution.sweep import RuleBook, sweep
from hedgeseg.attribution.tape import Op, Value


def record_logits(problem: Problem, book: RuleBook) -> Recording:
    """Record the forward pass for a method that explains the pixels.

    Args:
        problem: What is to be explained.
        book: The rules that will be used, for what they need kept.

    Raises:
        TargetError: If a target is not a class of the model.
        ValueError: If a layer was chosen, which such a method does not read.
    """
    refuse_layer(problem, book.method)
    return _record(problem, book, frozenset())


def record_with_layer(
    problem: Problem, book: RuleBook, layer: str | None, data: bool = False
) -> tuple[Recording, str, Value]:
    """Record the forward pass for a method that stops at a layer.

    Args:
        problem: What is to be explained.
        book: The rules that will be used, for what they need kept.
        layer: The method's choice for this model, which the user's goes before; None for the last feature map.
        data: Whether the layer's activation is needed.

    Returns:
        The recording, and the layer's name and value.

    Raises:
        LayerError: If the layer lies behind the last layer of a network with one logit, where the two sides part.
    """
    chosen = problem.layer or layer
    recording = _record(problem, book, frozenset({chosen}) if data and chosen else frozenset())
    name, value = locate(recording, chosen, by_user=problem.layer is not None)
    if recording.class_logits_value is not recording.logits_value:
        name, value = _before_the_sides_part(recording, name, value, by_user=problem.layer is not None)
    if data and value.data is None:
        recording = _record(problem, book, frozenset({name}))
        name, value = locate(recording, name, by_user=True)
    return recording, name, value


def _before_the_sides_part(recording: Recording, name: str, value: Value, by_user: bool) -> tuple[str, Value]:
    """The layer, or what the last layer of a network with one logit reads: relevance of side 0 leaves by it."""
    (entrance, *_) = classifiers(recording)[0].inputs
    if value.order <= entrance.order:
        return name, value
    if by_user:
        raise LayerError(
            f"layer={name!r} lies behind the last layer with weights, where the two sides of this network's one logit "
            f"part; choose {name_of(recording.tape, entrance)!r} or a layer before it"
        )
    return name_of(recording.tape, entrance), entrance


def _record(problem: Problem, book: RuleBook, wanted: frozenset[str]) -> Recording:
    recording = record(
        problem.model, problem.images, book.keeps, is_weighted, wanted, problem.output, problem.binary, True
    )
    check_targets(problem.targets.tolist(), recording.class_logits.shape[1])
    return recording


def one_hot(problem: Problem, recording: Recording) -> Tensor:
    """A row of 1 at the target and 0 elsewhere: (T, N, K)."""
    rows = torch.nn.functional.one_hot(problem.targets.T, recording.class_logits.shape[1])
    return rows.to(problem.dtype)


def target_logits(problem: Problem, recording: Recording) -> Tensor:
    """The target's logit at the target and 0 elsewhere: (T, N, K), where most decompositions of the logit start."""
    return one_hot(problem, recording) * recording.class_logits.detach().to(problem.dtype)


def propagate(
    problem: Problem,
    recording: Recording,
    book: RuleBook,
    start: Tensor,
    at: Value | None = None,
    until: Value | None = None,
) -> Tensor:
    """Sweep in slices that fit the problem's memory bound.

    Args:
        problem: What is to be explained.
        recording: Its forward pass; what it kept is freed.
        book: The rules.
        start: Relevance to begin with, (rows, *shape of `at`).
        at: Where it begins; the logits if None.
        until: Where it is read; the images if None.

    Returns:
        Relevance there, (rows, *its shape); 0 where none arrives.
    """
    end = recording.tape.images if until is None else until
    slices = list(problem.target_slices(len(start)))
    parts = []
    for i, part in enumerate(slices):
        begin = {recording.class_logits_value if at is None else at: start[part]}
        ends = sweep(recording.tape, begin, book, stops=[end], free=i == len(slices) - 1, report=problem.report)
        parts.append(ends[end] if end in ends else start.new_zeros(len(start[part]), *end.shape))
    return torch.cat(parts) if parts else start.new_empty(0, *end.shape)


def classifiers(recording: Recording) -> list[Op]:
    """The last layer with weights before the logits; both of its sides where the network has one logit.

    Raises:
        UnsupportedOpError: If there is none.
    """
    todo, seen = [recording.class_logits_value], set()
    found: list[Op] = []
    while todo:
        op = todo.pop().producer
        if op is None or op in seen:
            continue
        seen.add(op)
        if is_weighted(op.packet):
            found.append(op)
        else:
            todo.extend(op.inputs)
    if not found:
        raise UnsupportedOpError("no layer with weights lies before the logits, so there is no classifier to start at")
    last = max(found, key=lambda op: op.index)
    return [op for op in found if op.inputs == last.inputs]
