"""The feature map that a method starts from: its values with the channels first, wherever the network keeps them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from hedgeseg.attribution.recording import Recording
from hedgeseg.attribution.rules.structural import ACTIVATIONS, AVERAGES, COPIES, NORMALISATIONS, SUMS
from hedgeseg.attribution.samples import Samples
from hedgeseg.attribution.tape import Tape, Value


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """A layer in a recording, with what the head makes of it.

    Attributes:
        recording: The forward pass.
        name: Of the layer.
        value: The layer's output as the network has it.
        activation: That output, float (M, C, *space): as many maps per image as the network has copies of it there.
        gradients: Of the targets' logits with respect to it, (T, M, C, *space).
    """

    recording: Recording
    name: str
    value: Value
    activation: Tensor
    gradients: Tensor

    @property
    def samples(self) -> Samples:
        """Which image every row of the activation belongs to."""
        return replace(self.value.known_samples, dim=0)

    def placed(self, relevance: Tensor) -> Tensor:
        """Relevance (T, M, C, *space) laid out as the network has the layer, to start a sweep with."""
        return relevance.movedim(2, -1) if has_channels_last(self.recording.tape, self.value) else relevance


def has_channels_last(tape: Tape, value: Value) -> bool:
    """Whether a map is (N, *space, C): its positions are then averaged, or moved to the end, behind it.

    Looked for in what follows the value up to its pooling, through what leaves its shape as it is. A map that says
    nothing about itself is (N, C, *space), as convolutions have it.
    """
    dimensions, same = len(value.shape), {value}
    for op in tape.ops[value.order + 1 :]:
        if not same.intersection(op.inputs):
            continue
        if op.packet in AVERAGES and isinstance(op.argument(1, "dim"), (list, tuple)):
            reduced = {d % dimensions for d in op.argument(1, "dim")}
            return bool(reduced) and reduced.isdisjoint({0, dimensions - 1}) and 1 in reduced
        if op.name == "aten.permute":
            order = [d % dimensions for d in op.argument(1, "dims")]
            return order == [0, dimensions - 1, *range(1, dimensions - 1)]
        if op.packet in ACTIVATIONS | NORMALISATIONS | COPIES | SUMS and op.output.shape == value.shape:
            same.add(op.output)
    return False


def channels_first(tape: Tape, value: Value, tensor: Tensor) -> Tensor:
    """Numbers of a map's shape, with dimensions before it or without, as (..., N, C, *space)."""
    return tensor.movedim(-1, tensor.ndim - len(value.shape) + 1) if has_channels_last(tape, value) else tensor
