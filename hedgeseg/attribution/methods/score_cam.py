"""Score-CAM: feature maps weighted by the score of the image seen through them (Wang et al. 2020).

r = attribute(model, images, targets, method="score_cam", layer=None)
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from hedgeseg.attribution.explaining import full_precision
from hedgeseg.attribution.feature_map import FeatureMaps
from hedgeseg.attribution.methods.from_forward import logits_of, rows_at_once
from hedgeseg.attribution.methods.from_layer import projected, record_to_layers
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.projection import Projection
from hedgeseg.attribution.rules.rule import RuleBook


def explain(problem: Problem) -> Explanation:
    """``ReLU(sum_k a_k A_k)`` with ``a = softmax_k y_t(x * s(up(A_k)))`` (Eq. 4, 8 and Algorithm 1 of the paper).

    A_k are the channels of the layer, up resizes to the image and s maps a channel's range to [0, 1]. The logit of a
    baseline image, which the paper subtracts, cancels in the softmax.

    Args:
        problem: What is to be explained.

    Returns:
        Maps in units of the layer's activation, not negative: the weights sum to 1, over the channels of all layers if
        there are several. Cost: one forward pass per channel
        of the layer (512 for a ResNet-18, 2048 for a ResNet-50), shared by all targets of an image.

    Raises:
        LayerError: If the layer does not exist, did not run or is no feature map, or none was found.
    """
    layers = record_to_layers(problem, RuleBook("score_cam", {}))
    forward, rows = logits_of(problem), rows_at_once(problem)
    with full_precision(layers.maps[0].activation):
        scores: list[list[Tensor]] = [[] for _ in problem.images]
        for masks in _masks(layers, rows):
            for i, (image, targets) in enumerate(zip(problem.images, problem.targets, strict=True)):
                scores[i].append(forward(image * masks[:, i, None].to(image.dtype))[:, targets])
        dtype = layers.maps[0].activation.dtype
        weights = torch.stack([torch.cat(of_image).to(dtype).softmax(0) for of_image in scores])  # (N, K, T)
        parts = weights.split([layer.activation.shape[1] for layer in layers.maps], 1)
        maps = [
            torch.einsum("mkt,mk...->tm...", part[layer.rows], layer.activation).clamp(min=0)
            for part, layer in zip(parts, layers.maps, strict=True)
        ]
        return Explanation(projected(layers, maps, "score_cam"), layers.recording.logits, layers.name)


METHOD = Method(
    "score_cam",
    "Score-CAM (Wang et al. 2020): feature maps weighted by the score of the image seen through them",
    explain,
    signed=False,
    cost="1 forward per channel of the layer, for all targets",
)


def _masks(layers: FeatureMaps, rows: int) -> Iterator[Tensor]:
    """Every channel of every layer at the images' grid, scaled to [0, 1]: (at most `rows`, N, *space) at a time."""
    projection = Projection(layers.recording.tape, "score_cam")
    for layer in layers.maps:
        for channels in layer.activation.transpose(0, 1).split(rows):
            masks = projection.to_images(layer.value, channels)
            low, high = masks.flatten(2).amin(2), masks.flatten(2).amax(2)
            shape = (*low.shape, *(1,) * (masks.ndim - 2))
            yield (masks - low.view(shape)) / (high - low).clamp(min=1e-8).view(shape)
