"""The feature map that a method starts from: its values with the channels first, wherever the network keeps them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hedgeseg.attribution.nodes import Value
from hedgeseg.attribution.operations import ACTIVATIONS, COPIES, NORMALISATIONS, SUMS
from hedgeseg.attribution.recording import Recording
from hedgeseg.attribution.samples import Samples
from hedgeseg.attribution.tape import Tape
from hedgeseg.attribution.tokens import TokenGrid, find_grid

aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """A layer in a recording, with what the head makes of it.

    Attributes:
        tape: The recording.
        value: The layer's output as the network has it.
        activation: That output, float (M, C, *space): as many maps per image as the network has copies of it there.
        gradients: Of the targets' logits with respect to it, (T, M, C, *space).
    """

    tape: Tape
    value: Value
    activation: Tensor
    gradients: Tensor

    @property
    def samples(self) -> Samples:
        """Which image every row of the activation belongs to."""
        return replace(self.value.known_samples, dim=0)

    @property
    def rows(self) -> Tensor:
        """The image of every row, int64 (M,)."""
        return self.samples.labels(len(self.activation), self.activation.device)

    def placed(self, relevance: Tensor) -> Tensor:
        """Relevance (T, M, C, *space) laid out as the network has the layer, to start a sweep with."""
        return as_network(self.tape, self.value, relevance)


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """The layers that a method starts from, which it explains together.

    Attributes:
        recording: The forward pass.
        name: Of the layers, as `attribute` takes it.
        maps: The layers, in order of execution or as the user gave them.
    """

    recording: Recording
    name: str
    maps: list[FeatureMap]

    def start(self, relevances: Iterable[Tensor]) -> dict[Value, Tensor]:
        """Relevance of each map, laid out as the network has them, to start a sweep with."""
        return {layer.value: layer.placed(r) for layer, r in zip(self.maps, relevances, strict=True)}


def grid_of(tape: Tape, value: Value) -> TokenGrid | None:
    """Where the positions of a layer of tokens are; None for a map that has a dimension for each side."""
    if len(value.shape) >= len(tape.images.shape):
        return None
    return find_grid(value, len(tape.images.shape) - 2, value.known_samples.dim)


def channels_first(tape: Tape, value: Value, tensor: Tensor) -> Tensor:
    """Numbers of a map's shape, with dimensions before it or without, as (..., M, C, *space)."""
    grid = grid_of(tape, value)
    if grid is not None:
        return grid.to_map(tensor)
    before = tensor.ndim - len(value.shape)
    return tensor.permute(*range(before), *(before + d for d in _order(tape, value)))


def as_network(tape: Tape, value: Value, tensor: Tensor) -> Tensor:
    """The opposite: (T, M, C, *space) laid out as the network has the map."""
    grid = grid_of(tape, value)
    if grid is not None:
        return grid.placed(tensor)
    order = _order(tape, value)
    return tensor.permute(0, *(1 + order.index(d) for d in range(len(order))))


def spread_over_channels(tape: Tape, value: Value, maps: Tensor) -> Tensor:
    """Maps (T, M, *space) as relevance of a value, every channel with the same part of it."""
    grid = grid_of(tape, value)
    channels = value.shape[_order(tape, value)[1] if grid is None else grid.channels]
    spread = maps[:, :, None].expand(*maps.shape[:2], channels, *maps.shape[2:]) / channels
    return as_network(tape, value, spread)


def _order(tape: Tape, value: Value) -> list[int]:
    """A map's dimensions in the order images, channels, space."""
    images, channels = value.known_samples.dim, channel_dimension(tape, value)
    return [images, channels, *(d for d in range(len(value.shape)) if d not in (images, channels))]


def channel_dimension(tape: Tape, value: Value) -> int:
    """Which dimension of a map holds its channels.

    Looked for in what follows the value up to its pooling, through what leaves its shape as it is: the positions are
    averaged, or moved behind the channels. A map that says nothing about itself has its channels before its positions,
    as convolutions have it.
    """
    rank, images, same = len(value.shape), value.known_samples.dim, {value}
    usual = 1 if images == 0 else 0
    for op in tape.ops[value.order + 1 :]:
        if not same.intersection(op.inputs):
            continue
        if op.packet in (aten.mean, aten.sum) and isinstance(op.argument(1, "dim"), (list, tuple)):
            left = set(range(rank)) - {d % rank for d in op.argument(1, "dim")} - {images}
            return usual if usual in left else max(left, default=usual)
        if op.name == "aten.permute":
            order = [d % rank for d in op.argument(1, "dims")]
            rest = [d for d in range(rank) if d not in (images, order[1])]
            return order[1] if order[0] == images and order[2:] == rest else usual
        if op.packet in ACTIVATIONS | NORMALISATIONS | COPIES | SUMS and op.output.shape == value.shape:
            same.add(op.output)
    return usual
