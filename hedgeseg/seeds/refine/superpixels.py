"""Superpixel vote: every pixel of a segment of the picture takes the segment's mean probabilities.

Sharp, noisy maps lose their speckle and gain the picture's edges. Segments: SLIC (Achanta et al. 2012), through
scikit-image.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hedgeseg.seeds.refine.inputs import check_inputs
from hedgeseg.seeds.refine.skimage_extra import skimage_segmentation


@torch.no_grad()
def superpixel_vote(
    image: Tensor | np.ndarray,
    probabilities: Tensor | np.ndarray,
    pixels_per_segment: int = 400,
    compactness: float = 10.0,
) -> Tensor:
    """Average probabilities over SLIC superpixels.

    Args:
        image: uint8 (H, W, 3), RGB.
        probabilities: float (L, H, W).
        pixels_per_segment: mean area of a segment.
        compactness: weight of distance against colour; larger makes squarer segments.

    Returns:
        float32 (L, H, W), constant on each segment.

    Raises:
        ImportError: scikit-image is missing (extra `skimage`).
        ValueError: inputs that do not fit.
    """
    picture, values = check_inputs(image, probabilities)
    segmentation = skimage_segmentation("superpixel_vote")
    wanted = max(1, round(picture.shape[0] * picture.shape[1] / pixels_per_segment))
    segments = segmentation.slic(picture.cpu().numpy(), n_segments=wanted, compactness=compactness, start_label=0)
    return segment_means(values, torch.from_numpy(segments))


def segment_means(values: Tensor, segments: Tensor) -> Tensor:
    """Values (L, H, W) averaged over each segment of the label image (H, W) int."""
    flat = segments.reshape(-1).long().cpu()
    rows = values.reshape(len(values), -1).cpu().double()
    count = torch.bincount(flat).clamp(min=1)
    sums = torch.stack([torch.bincount(flat, weights=row) for row in rows])
    return (sums / count)[:, flat].reshape(values.shape).to(device=values.device, dtype=values.dtype)
