"""What of a padded image a network is shown: the picture alone, at its own shape where the network takes any."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from hedgeseg.callbacks.batches import Example


class Content:
    """Cuts the padding off, so that it is neither evidence nor mask.

    Networks of one input size (most transformers) cannot see a picture of another shape: for them it is stretched to
    the size of the padded image. Which kind a network is, the first padded image tells.
    """

    def __init__(self) -> None:
        self._any_size: bool | None = None

    def of(self, network: nn.Module, example: Example, device: torch.device) -> Tensor:
        """Float (C, h, w) on the device."""
        image, picture = example.image.to(device), example.picture.to(device)
        if picture.shape == image.shape:
            return image
        if self._any_size is None:
            self._any_size = _takes(network, picture)
            if not self._any_size and _takes(network, image):
                height, width = image.shape[1:]
                rank_zero_warn(
                    f"the network takes no picture of {picture.shape[1]} x {picture.shape[2]} pixels: pictures are "
                    f"stretched to {height} x {width} instead of padded; say so to the data as well (fit: squash)"
                )
        if self._any_size:
            return picture
        size = (int(image.shape[1]), int(image.shape[2]))
        return F.interpolate(picture[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]


def _takes(network: nn.Module, image: Tensor) -> bool:
    try:
        with torch.no_grad():
            network(image[None])
    except Exception:  # whatever a network says of a size it cannot take
        return False
    return True
