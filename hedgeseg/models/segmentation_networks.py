"""Segmentation networks by name: torchvision's, the small U-Net, and a head on any known classifier."""

from collections.abc import Mapping
from typing import Any

import torch
import torchvision
from torch import nn

from hedgeseg.models.architectures import build_network
from hedgeseg.models.trunk_head import TrunkHead
from hedgeseg.models.unet import UNet

_IMAGENET_OUTPUTS = 1000


class DenseLogits(nn.Module):
    """A torchvision segmentation network that answers with its logits instead of a dict of them.

    Args:
        network: gives `{"out": logits}`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, labels, H, W) of images (N, 3, H, W)."""
        return self.network(images)["out"]


def build_segmentation_network(
    arch: str, num_outputs: int, weights: str | None = None, freeze_trunk: bool = True
) -> nn.Module:
    """Builds a network that gives logits (N, `num_outputs`, H, W) at the images' size.

    Args:
        arch: "unet"; one of torchvision's segmentation networks (`lraspp_mobilenet_v3_large`, `fcn_*`, `deeplabv3_*`);
            or a classification architecture, whose trunk gets a new head.
        num_outputs: number of labels, background included.
        weights: for a classification architecture as in `build_network`; for torchvision's segmentation networks the
            name of the *backbone's* weights ("DEFAULT", "IMAGENET1K_V1"); None starts at random.
        freeze_trunk: of a classification architecture with weights: train the head alone.

    Raises:
        ValueError: unknown architecture, or weights for one that takes none.
        FileNotFoundError: weights file missing.
    """
    dense = torchvision.models.list_models(module=torchvision.models.segmentation)
    if arch == "unet":
        if weights is not None:
            raise ValueError(f"unet starts at random, it takes no weights; got {weights!r}")
        return UNet(num_outputs)
    if arch in dense:
        options: Mapping[str, Any] = {"weights": None, "weights_backbone": weights, "num_classes": num_outputs}
        return DenseLogits(torchvision.models.get_model(arch, **options))
    try:
        classifier = build_network(arch, _IMAGENET_OUTPUTS, weights)
    except ValueError as error:
        if not str(error).startswith("unknown architecture"):
            raise
        raise ValueError(f"{error}. For segmentation there are also unet, {', '.join(dense)}") from error
    return TrunkHead(classifier, num_outputs, frozen=freeze_trunk and weights is not None)
