"""What the methods that start at the logits share: one recorded forward pass, the start, and the way to the pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hedgeseg.attribution.errors import LayerError, UnsupportedOpError
from hedgeseg.attribution.inputs import check_targets
from hedgeseg.attribution.layer_names import name_of
from hedgeseg.attribution.layers import find_layers
from hedgeseg.attribution.methods.from_forward import refuse_layer
from hedgeseg.attribution.methods.method import Problem
from hedgeseg.attribution.nodes import Op, Value, leading_to
from hedgeseg.attribution.operations import is_weighted
from hedgeseg.attribution.recording import Recording, record
from hedgeseg.attribution.remarks import remarks_on
from hedgeseg.attribution.rules.rule import RuleBook
from hedgeseg.attribution.sweep import sweep


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


def record_with_layers(
    problem: Problem, book: RuleBook, layer: str | None, data: bool = False
) -> tuple[Recording, dict[str, Value]]:
    """Record the forward pass for a method that stops at layers.

    Args:
        problem: What is to be explained.
        book: The rules that will be used, for what they need kept.
        layer: The method's choice for this model, which the user's goes before; None for the last feature maps.
        data: Whether the layers' activations are needed.

    Returns:
        The recording, and the layers by name.

    Raises:
        LayerError: If a layer lies behind the last layer of a network with one logit, where the two sides part.
    """
    wanted = frozenset(problem.layers or ([layer] if layer is not None else []))
    recording = _record(problem, book, wanted if data else frozenset())
    layers = find_layers(recording, problem.layers, layer)
    if recording.class_logits_value is not recording.logits_value:
        layers = _before_the_sides_part(recording, layers, by_user=bool(problem.layers))
    if data and any(value.data is None for value in layers.values()):
        recording = _record(problem, book, frozenset(layers))
        layers = find_layers(recording, list(layers), None)
    return recording, layers


def _before_the_sides_part(recording: Recording, layers: dict[str, Value], by_user: bool) -> dict[str, Value]:
    """The layers, or what the last layer of a network with one logit reads: relevance of side 0 leaves by it."""
    (entrance, *_) = classifiers(recording)[0].inputs
    before = name_of(recording.tape, entrance)
    behind = [name for name, value in layers.items() if value.order > entrance.order]
    if by_user and behind:
        raise LayerError(
            f"layer={behind[0]!r} lies behind the last layer with weights, where the two sides of this network's one "
            f"logit part; choose {before!r} or a layer before it"
        )
    kept = {name: value for name, value in layers.items() if name not in behind}
    return kept | ({before: entrance} if behind else {})


def _record(problem: Problem, book: RuleBook, wanted: frozenset[str]) -> Recording:
    recording = record(problem.model, problem.images, book.keeps, wanted, problem.output, problem.binary, True)
    problem.remarks.update(remarks_on(recording))
    check_targets(problem.targets.tolist(), recording.class_logits.shape[1])
    return recording


def one_hot(problem: Problem, recording: Recording) -> Tensor:
    """A row of 1 at the target and 0 elsewhere: (T, N, K)."""
    rows = torch.nn.functional.one_hot(problem.targets.T, recording.class_logits.shape[1])
    return rows.to(problem.dtype)


def target_logits(problem: Problem, recording: Recording) -> Tensor:
    """The target's logit at the target and 0 elsewhere: (T, N, K), where most decompositions of the logit start."""
    return one_hot(problem, recording) * recording.class_logits.detach().to(problem.dtype)


def propagate(problem: Problem, recording: Recording, book: RuleBook, start: Tensor) -> Tensor:
    """Sweep from the logits to the pixels, in slices that fit the problem's memory bound.

    Args:
        problem: What is to be explained.
        recording: Its forward pass; what it kept is freed.
        book: The rules.
        start: Relevance to begin with, (rows, N, K).

    Returns:
        Relevance of the images, (rows, *their shape); 0 where none arrives.
    """
    (pixels,) = propagate_between(
        problem, recording, book, {recording.class_logits_value: start}, [recording.tape.images]
    )
    return pixels


def propagate_between(
    problem: Problem, recording: Recording, book: RuleBook, start: Mapping[Value, Tensor], ends: Sequence[Value]
) -> list[Tensor]:
    """The same between values of one's choice.

    Args:
        problem: What is to be explained.
        recording: Its forward pass; what it kept is freed.
        book: The rules.
        start: Relevance to begin with, (rows, *shape) for each value.
        ends: Where it is read; it goes no further from there.

    Returns:
        Relevance at every end, (rows, *its shape); 0 where none arrives.
    """
    like = next(iter(start.values()))
    slices = list(problem.target_slices(len(like)))
    parts: list[list[Tensor]] = [[like.new_empty(0, *end.shape)] for end in ends]
    for i, part in enumerate(slices):
        begin = {value: r[part] for value, r in start.items()}
        arrived = sweep(recording.tape, begin, book, stops=ends, free=i == len(slices) - 1, report=problem.report)
        for end, found in zip(ends, parts, strict=True):
            found.append(arrived[end] if end in arrived else like.new_zeros(len(like[part]), *end.shape))
    return [torch.cat(found) for found in parts]


def classifiers(recording: Recording) -> list[Op]:
    """The last layers with weights on every path to the logits, from the last to the first.

    One in most networks; both of its sides where the network has one logit; one per head where the logits of several
    are added up. One that another of them reads counts as hidden.

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
    found.sort(key=lambda op: -op.index)
    read = {before for op in found for v in op.inputs for before in leading_to(v)}
    return [op for op in found if op not in read]
