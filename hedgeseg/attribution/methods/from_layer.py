"""What the methods that start at a feature map share: one recorded forward pass and the layer in it."""

from __future__ import annotations

import torch
from torch import Tensor

from hedgeseg.attribution.feature_map import FeatureMap, channels_first
from hedgeseg.attribution.head import LostValueError, head_gradients
from hedgeseg.attribution.layers import family_layer, find_last_map, find_value
from hedgeseg.attribution.methods.method import Problem
from hedgeseg.attribution.recording import Recording, record
from hedgeseg.attribution.rules.linear import is_weighted
from hedgeseg.attribution.sweep import RuleBook
from hedgeseg.attribution.tape import Value


def record_to_layer(problem: Problem, book: RuleBook) -> FeatureMap:
    """Record the forward pass and differentiate the head behind the layer.

    Args:
        problem: What is to be explained.
        book: The rules that will be used, for what they need kept; may be empty.

    Returns:
        The layer's output and the gradients of the targets' logits with respect to it, channels first.
    """
    chosen = problem.layer or family_layer(problem.model)
    wanted = frozenset() if chosen is None else frozenset({chosen})
    while True:
        recording = record(
            problem.model, problem.images, book.keeps, is_weighted, wanted, problem.output, problem.binary
        )
        name, layer = locate(recording, chosen, by_user=problem.layer is not None)
        try:
            if layer.data is None:
                raise LostValueError(name)
            activation, gradients = head_gradients(recording, layer, problem.targets)
        except LostValueError:
            if name in wanted:
                raise
            wanted = frozenset({name})  # an unusual head: run again and keep all that it needs
            continue
        activation, gradients = (channels_first(recording.tape, layer, values) for values in (activation, gradients))
        return FeatureMap(recording, name, layer, activation, gradients)


def locate(recording: Recording, chosen: str | None, by_user: bool) -> tuple[str, Value]:
    """The name and the value of a layer; a family's choice gives way to the last feature map where it did not run."""
    if chosen is not None and (by_user or recording.tape.outputs_of.get(chosen) is not None):
        return chosen, find_value(recording, chosen)
    return find_last_map(recording)


def channel_weights(gradients: Tensor) -> Tensor:
    """Mean gradient of every channel (Eq. 4): (T, N, C, *space) to (T, N, C, 1, ...)."""
    return gradients.mean(dim=tuple(range(3, gradients.ndim)), keepdim=True)


def resize(maps: Tensor, size: torch.Size) -> Tensor:
    """Linear interpolation of maps (T, N, *space) to the images' size, half-pixel centres."""
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    return torch.nn.functional.interpolate(maps, size=tuple(size), mode=mode, align_corners=False)
