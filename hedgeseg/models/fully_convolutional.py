"""VGG and AlexNet at any input size: their fully connected layers slide over the feature map as convolutions.

This is how the pointing game evaluates VGG: the photograph keeps its shape, the network gives a logit per class and
position, and these are pooled to one logit per class. At the size the network was made for there is one position, and
the logits are those of the network itself.
"""

from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.nn import functional as F

Pooling = Literal["mean", "sum", "logsumexp"]


class FullyConvolutional(nn.Module):
    """Wraps a network of the form features, average pooling to a grid, fully connected classifier.

    The network's own parameters are used, under their own names and in their own shapes: weights can be loaded, trained
    and saved as ever. The average pooling to the grid, which would squeeze a larger map, is left out.

    Args:
        network: a torchvision VGG or AlexNet, or one built like them.
        pool: how the logits of the positions become one: "mean"; "sum", which grows with the image; "logsumexp", whose
            gradient weighs a position by its softmax, as TorchRay's evaluation does. At one position all are equal.

    Raises:
        ValueError: a network of another form, or an unknown pooling.
    """

    def __init__(self, network: nn.Module, pool: Pooling = "mean") -> None:
        super().__init__()
        if pool not in get_args(Pooling):
            raise ValueError(f"pool must be one of {get_args(Pooling)}, got {pool!r}")
        self.network = network
        self.pool = pool
        self.grid = _grid(network)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) of images (N, 3, H, W).

        Raises:
            ValueError: images too small for one position.
        """
        scores = self.positions(images).flatten(2)
        if self.pool == "mean":
            return scores.mean(2)
        return scores.sum(2) if self.pool == "sum" else scores.logsumexp(2)

    def extra_repr(self) -> str:
        """The pooling: two networks that differ in it are not alike."""
        return f"pool={self.pool!r}"

    def positions(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, K, h, w) of every position that the classifier fits at.

        Raises:
            ValueError: images too small for one position.
        """
        maps = self.network.get_submodule("features")(images)
        if maps.shape[2] < self.grid[0] or maps.shape[3] < self.grid[1]:
            raise ValueError(
                f"images of {images.shape[2]} x {images.shape[3]} pixels give a feature map of {maps.shape[2]} x "
                f"{maps.shape[3]}, the classifier needs {self.grid[0]} x {self.grid[1]}: resize the short side to 224"
            )
        size = self.grid
        for layer in self.network.get_submodule("classifier").children():
            if isinstance(layer, nn.Linear):
                maps = F.conv2d(maps, layer.weight.view(layer.out_features, -1, *size), layer.bias)
                size = (1, 1)
            else:
                maps = layer(maps)
        return maps


def _grid(network: nn.Module) -> tuple[int, int]:
    """Height and width of the feature map that the first fully connected layer was made for."""
    parts = dict(network.named_children())
    pooling, classifier = parts.get("avgpool"), parts.get("classifier")
    linear = [layer for layer in classifier.children() if isinstance(layer, nn.Linear)] if classifier else []
    if "features" not in parts or not isinstance(pooling, nn.AdaptiveAvgPool2d) or not linear:
        raise ValueError(
            f"{type(network).__name__} is not built like VGG (features, avgpool, classifier). Networks that end in "
            "global average pooling take images of any size as they are: leave fully_convolutional out"
        )
    size: Any = pooling.output_size
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)
