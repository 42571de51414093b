"""A small VGG-like network: what the quick start trains in a minute without a GPU."""

import torch
from torch import nn

_WIDTHS = (24, 48, 96, 96, 160)
_POOLED = (False, True, True, False, True)  # whether 2x2 pooling comes before the stage


class SmallCNN(nn.Module):
    """Five stages of convolution, batch norm and ReLU with pooling in between, global average pooling, a linear head.

    The first convolution has stride 2 (most of the time would go there), the last map a stride of 16: 8x8 for 128
    pixels. Any input from 32 pixels a side; 0.3 million parameters.

    Args:
        num_classes: number of logits.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, pooled in zip(_WIDTHS, _POOLED, strict=True):
            if pooled:
                layers.append(nn.MaxPool2d(2))
            first = channels == 3
            layers += [
                nn.Conv2d(channels, width, 5 if first else 3, 2 if first else 1, 2 if first else 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            channels = width
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        # a quarter faster on a CPU; the weights' layout decides that of all maps
        self.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) of images (N, 3, H, W)."""
        return self.classifier(self.pool(self.features(images)).flatten(1))
