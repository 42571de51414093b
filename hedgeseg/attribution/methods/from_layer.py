"""What the methods that start at feature maps share: one recorded forward pass and the layers in it."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from hedgeseg.attribution.families import family_layer
from hedgeseg.attribution.feature_map import FeatureMap, FeatureMaps, channels_first
from hedgeseg.attribution.head import head_gradients
from hedgeseg.attribution.layer_names import AND
from hedgeseg.attribution.layers import find_layers
from hedgeseg.attribution.methods.method import Problem
from hedgeseg.attribution.nodes import LostValueError
from hedgeseg.attribution.projection import Projection
from hedgeseg.attribution.recording import record
from hedgeseg.attribution.remarks import remarks_on
from hedgeseg.attribution.rules.rule import RuleBook


def record_to_layers(problem: Problem, book: RuleBook) -> FeatureMaps:
    """Record the forward pass and differentiate the head behind the layers.

    Args:
        problem: What is to be explained.
        book: The rules that will be used, for what they need kept; may be empty.

    Returns:
        The layers' outputs and the gradients of the targets' logits with respect to them, channels first. Of two layers
        one behind the other, the first has the gradient past the second.
    """
    family = family_layer(problem.model)
    wanted = frozenset(problem.layers or ([family] if family is not None else []))
    while True:
        recording = record(problem.model, problem.images, book.keeps, wanted, problem.output, problem.binary)
        problem.remarks.update(remarks_on(recording))
        layers = find_layers(recording, problem.layers, family)
        try:
            if any(value.data is None for value in layers.values()):
                raise LostValueError(AND.join(layers))
            found = head_gradients(recording, list(layers.values()), problem.targets)
        except LostValueError:
            if wanted.issuperset(layers):
                raise
            wanted = frozenset(layers)  # an unusual head: run again and keep all that it needs
            continue
        tape = recording.tape
        maps = [
            FeatureMap(tape, value, *(channels_first(tape, value, numbers) for numbers in numbers_of))
            for value, numbers_of in zip(layers.values(), found, strict=True)
        ]
        return FeatureMaps(recording, AND.join(layers), maps)


def channel_weights(gradients: Tensor) -> Tensor:
    """Mean gradient of every channel (Eq. 4): (T, N, C, *space) to (T, N, C, 1, ...)."""
    return gradients.mean(dim=tuple(range(3, gradients.ndim)), keepdim=True)


def projected(layers: FeatureMaps, maps: Iterable[Tensor], method: str) -> Tensor:
    """One map (T, M, *space) for each layer, brought to the images' grid and added up: (T, N, *space)."""
    projection = Projection(layers.recording.tape, method)
    brought = [projection.to_images(layer.value, m) for layer, m in zip(layers.maps, maps, strict=True)]
    return sum(brought[1:], brought[0])
