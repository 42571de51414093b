"""The network of a classifier: an architecture, and what is done to it before it learns."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from hedgeseg.data.voc_classes import VOC_CLASSES
from hedgeseg.models.architectures import build_network
from hedgeseg.models.fully_convolutional import FullyConvolutional, Pooling
from hedgeseg.models.grouped_logits import GroupedLogits, read_groups
from hedgeseg.models.output_stride import with_output_stride

_IMAGENET_OUTPUTS = 1000


def classifier_network(
    arch: str,
    num_classes: int,
    weights: str | None,
    groups: str | None,
    classes: Sequence[str] | None,
    pool: Pooling | None,
    output_stride: int | None,
) -> nn.Module:
    """A network with one logit per class; what the options mean, `Classifier` says.

    Raises:
        ValueError: unknown architecture, weights that do not fit, or groups that do not fit the classes.
        FileNotFoundError: weights or groups file missing.
    """
    network = build_network(arch, num_classes if groups is None else _IMAGENET_OUTPUTS, weights)
    if output_stride is not None:
        network = with_output_stride(network, output_stride)
    if pool is not None:
        network = FullyConvolutional(network, pool)
    if groups is None:
        return network
    return GroupedLogits(network, _indices(groups, num_classes, classes))


def _indices(groups: str, num_classes: int, classes: Sequence[str] | None) -> list[list[int]]:
    """ImageNet indices of each class."""
    if classes is None:
        if num_classes != len(VOC_CLASSES):
            raise ValueError(f"groups with num_classes={num_classes}: name the classes in their order with `classes`")
        classes = VOC_CLASSES
    indices = read_groups(groups, classes)
    largest = max(index for group in indices for index in group)
    if largest >= _IMAGENET_OUTPUTS:
        raise ValueError(f"{groups} names the ImageNet index {largest}; the last one is {_IMAGENET_OUTPUTS - 1}")
    return indices
