"""A small U-Net: segments the embedded shapes in minutes without a GPU."""

import torch
from torch import nn
from torch.nn import functional as F

WIDTHS = (16, 32, 64, 96)


class UNet(nn.Module):
    """Four levels, each half the size of the one above; what the way down saw is joined on the way up.

    Source: Ronneberger, Fischer, Brox, "U-Net", 2015, with batch norm and padded convolutions, so that input and output
    have one size. Any input from 8 pixels a side; 0.3 million parameters.

    Args:
        num_outputs: number of labels, background included.
    """

    def __init__(self, num_outputs: int) -> None:
        super().__init__()
        above = (3, *WIDTHS[:-1])
        self.down = nn.ModuleList(_block(i, o) for i, o in zip(above, WIDTHS, strict=True))
        pairs = list(zip(WIDTHS[1:], WIDTHS[:-1], strict=True))
        self.up = nn.ModuleList(_block(deep + wide, wide) for deep, wide in reversed(pairs))
        self.head = nn.Conv2d(WIDTHS[0], num_outputs, 1)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, labels, H, W) of images (N, 3, H, W)."""
        seen = []
        x = images
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            seen.append(x)
        for block, skip in zip(self.up, reversed(seen[:-1]), strict=True):
            # sides that do not divide by eight lose a pixel on the way down; resizing gives it back
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([skip, x], dim=1))
        return self.head(x)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
