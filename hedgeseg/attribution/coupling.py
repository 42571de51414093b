"""Whether a model couples the images of a batch: its logits for an image are others when it comes alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hedgeseg.attribution.errors import UnsupportedModelError

Forward = Callable[[Tensor], Tensor]

_HALF = (torch.float16, torch.bfloat16)


def deviation(logits: Tensor, reference: Tensor) -> float:
    """The largest difference of logits (n, K), relative to the largest logit of the reference."""
    return float((logits - reference).abs().max() / reference.abs().max().clamp(min=1e-6))


def rounding(dtype: torch.dtype) -> float:
    """How far logits of an image deviate between batches by rounding alone, at most."""
    return {torch.float64: 1e-6, torch.float32: 1e-3}.get(dtype, 0.1)


def refusal(why: str, begins: str = "") -> UnsupportedModelError:
    """The error for a model that couples images.

    Args:
        why: How that was found.
        begins: The first operation that does, if it is known.
    """
    return UnsupportedModelError(
        f"the model mixes the images of a batch ({why}){begins}: no map would be of one image. Give the images one per "
        f"call (what an image alone gets is then explained), or change {'that' if begins else 'the'} operation (a "
        "batch norm without running statistics, a sum over the batch)."
    )


def refuse_coupling(model: nn.Module, forward: Forward, images: Tensor, logits: Tensor) -> None:
    """Raise if the first or the last image of a batch gets other logits alone.

    A model that takes no image alone cannot be judged so, nor can one that draws at random; they are let pass.

    Args:
        model: The model.
        forward: What gives its logits, (N, C, *space) to (N, K).
        images: The batch.
        logits: What `forward` gave for it.

    Raises:
        UnsupportedModelError: Says which image.
    """
    if len(images) < 2:
        return
    device = images.device.type
    half = torch.is_autocast_enabled(device) or any(p.dtype in _HALF for p in model.parameters())
    digits = rounding(torch.bfloat16 if half else logits.dtype)
    with torch.no_grad():
        for i in (0, len(images) - 1):
            try:
                alone = forward(images[i : i + 1])
            except Exception:
                return
            apart = deviation(alone, logits[i : i + 1])
            if apart > digits and apart > 10 * deviation(forward(images), logits):
                raise refusal(f"the logits of image {i} are others when it comes alone")
