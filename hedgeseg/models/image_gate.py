"""What an image shows at all, by a classifier of its labels, as evidence for what its pixels show.

A pixel's class is a conjunction: the image shows it, and it is here. The logits of a segmentation network learn the
second; log p of a classifier says the first, and is added to them.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from hedgeseg.models.architectures import build_network


class ImageGate(nn.Module):
    """A trained classifier as log-probabilities of the classes; never trained further.

    Args:
        arch: of the classifier.
        num_classes: number of classes, background not counted.
        multiclass: one class per image (softmax) instead of any number (sigmoid).
        weights: its checkpoint; None for one whose state is loaded later.
    """

    def __init__(self, arch: str, num_classes: int, multiclass: bool = False, weights: str | None = None) -> None:
        super().__init__()
        self.network = build_network(arch, num_classes, weights).requires_grad_(False).eval()
        self.multiclass = multiclass

    @classmethod
    def read(cls, checkpoint: str | Path, num_classes: int) -> tuple[ImageGate, str]:
        """The classifier of a checkpoint, and its architecture.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not a checkpoint of a Classifier, or one of another number of classes or of a kind that cannot
                be built from its architecture alone.
        """
        path = Path(checkpoint)
        if not path.is_file():
            raise FileNotFoundError(f"there is no checkpoint {path} of a classifier to gate with")
        options = torch.load(path, map_location="cpu", weights_only=True).get("hyper_parameters", {})
        if "arch" not in options or "task" not in options:
            raise ValueError(f"{path} is not a checkpoint of hedgeseg's Classifier")
        if options.get("groups") or options.get("fully_convolutional"):
            raise ValueError(f"{path}: a classifier with groups or fully_convolutional cannot gate")
        if options["num_classes"] != num_classes:
            raise ValueError(f"{path} knows {options['num_classes']} classes, the segmenter {num_classes}")
        arch = str(options["arch"])
        return cls(arch, num_classes, options["task"] == "multiclass", str(path)), arch

    def train(self, mode: bool = True) -> ImageGate:
        """Stays in evaluation."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (N, K), each <= 0, that images (N, 3, H, W) show the classes."""
        logits = self.network(images).float()
        return F.log_softmax(logits, 1) if self.multiclass else F.logsigmoid(logits)


def gated(logits: torch.Tensor, log_probabilities: torch.Tensor, strength: float = 1.0) -> torch.Tensor:
    """Logits (N, 1 + K, H, W), background first, with those of the classes lowered where the image lacks them.

    Args:
        logits: of the pixels.
        log_probabilities: of the images' classes, (N, K).
        strength: factor of the log-probability; 0 leaves the logits alone.

    Example:
        >>> gated(torch.zeros(1, 3, 1, 1), torch.tensor([[0.0, -2.0]])).flatten()
        tensor([ 0.,  0., -2.])
    """
    classes = logits[:, 1:] + strength * log_probabilities.to(logits.dtype)[:, :, None, None]
    return torch.cat([logits[:, :1], classes], 1)
