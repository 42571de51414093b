"""What of a feature map speaks for a class, channel by channel and place by place."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hedgeseg.attribution.api import unwrap
from hedgeseg.attribution.explaining import explaining
from hedgeseg.attribution.inputs import check_images
from hedgeseg.attribution.methods.from_layer import channel_weights, record_to_layers
from hedgeseg.attribution.methods.method import Problem
from hedgeseg.attribution.recording import OutputKey
from hedgeseg.attribution.rules.rule import RuleBook


def contributions(
    model: nn.Module, image: Tensor, targets: list[int], output: OutputKey = None, binary: bool = True
) -> Tensor:
    """The positive part of the gradient-weighted feature map (Eq. 4-5 before it is normalised) of one image.

    Args:
        model: A classifier.
        image: Float (1, C, H, W), as the model takes it.
        targets: Class indices.
        output: See `attribute`.
        binary: See `attribute`.

    Returns:
        Float (T, channels, h, w), not negative, of the layer that `resolve_layer` names. Where several maps reach the
        logits, their channels one after the other; these maps, and copies of an image in its network (flips, crops),
        are averaged over their places: (T, channels, 1, 1).

    Raises:
        ValueError: If there is not exactly one image.
        LayerError: If the network has no feature map.
    """
    network = unwrap(model)
    check_images(network, image)
    if len(image) != 1:
        raise ValueError(f"contributions are of one image, got {len(image)}")
    with explaining(network):
        image = image.detach().clone() if image.is_inference() else image.detach()
        chosen = torch.tensor([targets], device=image.device)
        layers = record_to_layers(
            Problem(network, image, chosen, output=output, binary=binary), RuleBook("contributions", {})
        )
        found = [(channel_weights(layer.gradients) * layer.activation).clamp(min=0) for layer in layers.maps]
    if len(found) == 1 and found[0].shape[1] == 1:
        return found[0][:, 0]
    pooled = [part.mean(1).flatten(2).mean(2) for part in found]
    return torch.cat(pooled, 1)[..., None, None]
