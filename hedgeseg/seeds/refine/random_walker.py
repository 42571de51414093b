"""Random walker: unsure pixels take the label that a walk on the picture reaches first.

Source: Grady, "Random Walks for Image Segmentation", 2006. Confident pixels are the marks; the rest is the solution of
a sparse linear system (scikit-image), so the result is a probability and its spread an uncertainty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hedgeseg.seeds.refine.inputs import check_inputs
from hedgeseg.seeds.refine.skimage_extra import skimage_segmentation


@torch.no_grad()
def random_walker(
    image: Tensor | np.ndarray,
    probabilities: Tensor | np.ndarray,
    confident: float = 0.3,
    beta: float = 130.0,
    scale: float = 0.5,
) -> Tensor:
    """Keep the surest pixels of every label and let a random walk decide the rest.

    Args:
        image: uint8 (H, W, 3), RGB.
        probabilities: float (L, H, W), summing to one over the labels.
        confident: share of each label's own pixels, the surest, that are kept as marks.
        beta: contrast sensitivity; larger makes edges harder to cross.
        scale: the system is solved at this fraction of the side (a quarter of the unknowns at 1/2).

    Returns:
        float32 (L, H, W), summing to one; a label that wins no pixel gets no mark and probability 0. Where one label
        wins everywhere, the input is returned.

    Raises:
        ImportError: scikit-image is missing (extra `skimage`).
        ValueError: inputs that do not fit, or shares outside (0, 1].
    """
    picture, values = check_inputs(image, probabilities)
    if not (0 < confident <= 1 and 0 < scale <= 1):
        raise ValueError(f"confident and scale must lie in (0, 1], got {confident} and {scale}")
    walker = skimage_segmentation("random_walker").random_walker
    size = (max(1, round(values.shape[1] * scale)), max(1, round(values.shape[2] * scale)))
    small = F.interpolate(values[None], size=size, mode="area")[0]
    colours = F.interpolate(picture.permute(2, 0, 1)[None].float() / 255, size=size, mode="area")[0]
    marks = surest(small, confident)
    present = [label for label in range(len(values)) if bool((marks == label + 1).any())]
    if len(present) < 2:
        return values
    spread = torch.zeros_like(small)
    if bool((marks > 0).all()):  # nothing is left to a walk
        spread.scatter_(0, small.argmax(0, keepdim=True), 1.0)
    else:
        spread[present] = _walk(walker, colours, marks, present, beta).to(small)
    full = F.interpolate(spread[None], size=tuple(values.shape[1:]), mode="bilinear", align_corners=False)[0]
    return full / full.sum(0, keepdim=True).clamp(min=1e-12)


def _walk(walker: Callable[..., Any], colours: Tensor, marks: Tensor, present: list[int], beta: float) -> Tensor:
    """float64 (len(present), H, W) in [0, 1]: which mark a walk reaches first, by scikit-image."""
    renumbered = torch.zeros_like(marks)  # skimage wants marks 1..n without gaps
    for position, label in enumerate(present):
        renumbered[marks == label + 1] = position + 1
    solved = walker(
        colours.permute(1, 2, 0).double().cpu().numpy(),  # weights span ten orders of magnitude
        renumbered.cpu().numpy(),
        beta=beta,
        mode="bf",  # the iterative default stopped 0.12 away from the solution, after twice the time
        channel_axis=-1,
        return_full_prob=True,
    )
    return torch.from_numpy(np.ascontiguousarray(solved)).clamp(0, 1)


def surest(probabilities: Tensor, share: float) -> Tensor:
    """Marks int64 (H, W): label + 1 on the surest `share` of the pixels each label wins, 0 elsewhere."""
    winner = probabilities.max(0).indices
    best = probabilities.amax(0)
    marks = torch.zeros_like(winner)
    for label in range(len(probabilities)):
        own = best[winner == label]
        if own.numel() == 0:
            continue
        keep = max(1, round(share * own.numel()))
        level = own.sort(descending=True).values[keep - 1]
        marks[(winner == label) & (best >= level)] = label + 1
    return marks
