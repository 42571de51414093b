"""Segmentation networks by name: torchvision's, the small U-Net, and a light decoder on any known classifier."""

from collections.abc import Mapping
from typing import Any, Self

import torch
import torchvision
from torch import nn

from hedgeseg.models.architectures import build_network, head_name, read_state
from hedgeseg.models.trunk_head import TrunkHead
from hedgeseg.models.unet import UNet

_IMAGENET_OUTPUTS = 1000
_NAMED = 5


class DenseLogits(nn.Module):
    """A torchvision segmentation network that answers with its logits instead of a dict of them.

    Args:
        network: gives `{"out": logits}` and has a `backbone`.
        frozen: keep the backbone's weights and batch norm statistics.
    """

    def __init__(self, network: nn.Module, frozen: bool = False) -> None:
        super().__init__()
        self.network = network
        self.frozen = frozen
        self.trunk.requires_grad_(not frozen)
        self.train()

    @property
    def trunk(self) -> nn.Module:
        """The backbone."""
        return self.network.get_submodule("backbone")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, labels, H, W) of images (N, 3, H, W)."""
        return self.network(images)["out"]

    def train(self, mode: bool = True) -> Self:
        """Switches to training or evaluation; a frozen backbone stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.trunk.eval()
        return self


def build_segmentation_network(
    arch: str, num_outputs: int, weights: str | None = None, freeze_trunk: bool | None = None
) -> nn.Module:
    """Builds a network that gives logits (N, `num_outputs`, H, W) at the images' size.

    Args:
        arch: "unet"; one of torchvision's segmentation networks (`lraspp_mobilenet_v3_large`, `fcn_*`, `deeplabv3_*`);
            or a classification architecture of torchvision or "timm/<name>", whose trunk gets a light decoder.
        num_outputs: number of labels, background included.
        weights: of the trunk: torchvision's name of a set of weights ("DEFAULT", "IMAGENET1K_V1"), or the path of a
            state dict or of a classifier's checkpoint, whose head is left out; None starts at random.
        freeze_trunk: train the head alone; None does so for a classification architecture with weights.

    Raises:
        ValueError: unknown architecture, or weights that do not fit it or for one that takes none.
        FileNotFoundError: weights file missing.
    """
    dense = torchvision.models.list_models(module=torchvision.models.segmentation)
    if arch == "unet":
        if weights is not None:
            raise ValueError(f"unet starts at random, it takes no weights; got {weights!r}")
        return UNet(num_outputs)
    if arch in dense:
        options: Mapping[str, Any] = {"weights": None, "weights_backbone": None, "num_classes": num_outputs}
        network = torchvision.models.get_model(arch, **options)
        if weights is not None:
            _load_backbone(network.backbone, arch, weights)
        return DenseLogits(network, frozen=bool(freeze_trunk))
    try:
        classifier = _classifier(arch, weights)
    except ValueError as error:
        if not str(error).startswith("unknown architecture"):
            raise
        raise ValueError(f"{error}. For segmentation there are also unet, {', '.join(dense)}") from error
    return TrunkHead(classifier, num_outputs, frozen=weights is not None if freeze_trunk is None else freeze_trunk)


def backbone_name(arch: str) -> str:
    """The classification architecture inside a segmentation network of torchvision.

    Example:
        >>> backbone_name("deeplabv3_resnet50"), backbone_name("lraspp_mobilenet_v3_large")
        ('resnet50', 'mobilenet_v3_large')
    """
    return arch.partition("_")[2]


def _classifier(arch: str, weights: str | None) -> nn.Module:
    """The classifier with a head as wide as that of its weights: it is dropped, whatever its width."""
    if weights is None:
        return build_network(arch, _IMAGENET_OUTPUTS)
    with torch.device("meta"):
        head = head_name(build_network(arch, _IMAGENET_OUTPUTS))
    state = read_state(arch, weights)
    width = len(state[f"{head}.weight"]) if f"{head}.weight" in state else _IMAGENET_OUTPUTS
    return build_network(arch, width, weights)


def _load_backbone(backbone: nn.Module, arch: str, weights: str) -> None:
    """Loads what a classifier's weights hold of a backbone, which is its trunk under the same or shorter names."""
    state = read_state(backbone_name(arch), weights)
    known = {name.removeprefix("features."): value for name, value in state.items()}
    wanted = backbone.state_dict()
    missing = [n for n in wanted if n not in known and not n.endswith("num_batches_tracked")]
    misshapen = [n for n in wanted if n in known and known[n].shape != wanted[n].shape]
    if missing or misshapen:
        raise ValueError(
            f"{weights} does not fit the backbone of {arch}, a {backbone_name(arch)}: {len(missing)} entries missing, "
            f"{len(misshapen)} of another shape, such as {(missing + misshapen)[:_NAMED]}"
        )
    backbone.load_state_dict({name: known[name] for name in wanted if name in known}, strict=False)
