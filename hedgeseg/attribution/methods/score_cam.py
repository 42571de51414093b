"""Score-CAM: feature maps weighted by the score of the image seen through them (Wang et al. 2020).

r = attribute(model, images, targets, method="score_cam", layer=None)
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from hedgeseg.attribution.explaining import full_precision
from hedgeseg.attribution.methods.from_forward import logits_of, rows_at_once
from hedgeseg.attribution.methods.from_layer import record_to_layer, resize
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.sweep import RuleBook


def explain(problem: Problem) -> Explanation:
    """``ReLU(sum_k a_k A_k)`` with ``a = softmax_k y_t(x * s(up(A_k)))`` (Eq. 4, 8 and Algorithm 1 of the paper).

    A_k are the channels of the layer, up resizes to the image and s maps a channel's range to [0, 1]. The logit of a
    baseline image, which the paper subtracts, cancels in the softmax.

    Args:
        problem: What is to be explained.

    Returns:
        Maps in units of the layer's activation, not negative: the weights sum to 1. Cost: one forward pass per channel
        of the layer (512 for a ResNet-18, 2048 for a ResNet-50), shared by all targets of an image.

    Raises:
        LayerError: If the layer does not exist, did not run or is no feature map, or none was found.
    """
    layer = record_to_layer(problem, RuleBook("score_cam", {}))
    forward, rows = logits_of(problem), rows_at_once(problem)
    maps = []
    with full_precision(layer.activation):
        for image, features, targets in zip(problem.images, layer.activation, problem.targets, strict=True):
            scores = [forward(seen)[:, targets] for seen in _seen_through(image, features, rows)]
            weights = torch.cat(scores).to(features.dtype).softmax(0)
            maps.append(torch.einsum("kt,k...->t...", weights, features).clamp(min=0))
        resized = resize(torch.stack(maps, 1), problem.images.shape[2:])
    return Explanation(resized, layer.recording.logits, layer.name)


METHOD = Method(
    "score_cam",
    "Score-CAM (Wang et al. 2020): feature maps weighted by the score of the image seen through them",
    explain,
    signed=False,
    cost="1 forward per channel of the layer, for all targets",
)


def _seen_through(image: Tensor, features: Tensor, rows: int) -> Iterator[Tensor]:
    """The image (C, *space) multiplied by each feature map (K, *coarse), resized and scaled; `rows` at a time."""
    for part in features.split(rows):
        masks = resize(part[None], image.shape[1:])[0]
        low, high = masks.flatten(1).amin(1), masks.flatten(1).amax(1)
        shape = (-1, *(1,) * (masks.ndim - 1))
        scaled = (masks - low.view(shape)) / (high - low).clamp(min=1e-8).view(shape)
        yield image * scaled[:, None].to(image.dtype)
