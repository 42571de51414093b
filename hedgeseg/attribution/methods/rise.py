"""RISE: the average of random masks, weighted by the score of the image seen through them (Petsiuk et al. 2018).

r = attribute(model, images, targets, method="rise", masks=4000, seed=0)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from hedgeseg.attribution.explaining import full_precision
from hedgeseg.attribution.methods.from_forward import (
    check_positive,
    logits_of,
    logits_to_explain,
    refuse_layer,
    rows_at_once,
)
from hedgeseg.attribution.methods.method import Explanation, Method, Problem

Score = Literal["softmax", "sigmoid", "logit"]


def explain(
    problem: Problem,
    masks: int = 4000,
    cells: int = 7,
    keep: float = 0.5,
    score: Score = "softmax",
    seed: int = 0,
) -> Explanation:
    """``1 / (E[M] N) sum_i f_t(x * M_i) M_i`` (Eq. 6 of the paper).

    Args:
        problem: What is to be explained.
        masks: N; the paper takes 4000 for VGG-16 and 8000 for ResNet-50.
        cells: Per side of the coarse binary grid that a mask is resized and cropped from (Sec. 3.2).
        keep: Probability that a cell is kept, E[M].
        score: What f is: "softmax" as in the paper, "sigmoid" for a multi-label classifier, "logit" as it is.
        seed: Of the masks. Every image and target meets the same masks, whatever its batch.

    Returns:
        Maps that estimate the expected score given that the pixel is kept: in [0, 1] up to noise for a probability, so
        not signed; what matters is where they are larger. Cost: `masks` forward passes, shared by all targets.

    Raises:
        ValueError: If an option is wrong, or a layer is given.
    """
    check_positive(masks=masks, cells=cells, keep=keep)
    if keep > 1 or score not in ("softmax", "sigmoid", "logit"):
        raise ValueError(f"keep={keep!r}, score={score!r}: keep is a probability; score is softmax, sigmoid or logit")
    refuse_layer(problem, "rise")
    forward, images = logits_of(problem), problem.images
    logits = logits_to_explain(problem, images)
    maps = images.new_zeros(problem.targets.shape[1], *images[:, 0].shape, dtype=problem.dtype)
    for part in random_masks(masks, images.shape[2:], cells, keep, seed, rows_at_once(problem)):
        part = part.to(images.device, problem.dtype)
        for i, (image, targets) in enumerate(zip(images, problem.targets, strict=True)):
            seen = forward(image * part[:, None].to(image.dtype))
            scores = _scores(seen.to(problem.dtype), score)[:, targets]
            with full_precision(part):
                maps[:, i] += torch.einsum("mt,m...->t...", scores, part)
    return Explanation(maps / (keep * masks), logits)


def random_masks(number: int, space: torch.Size, cells: int, keep: float, seed: int, rows: int) -> Iterator[Tensor]:
    """Smooth random masks, `rows` at a time; the same ones whatever `rows` is.

    Args:
        number: How many in all.
        space: Size of the images.
        cells: Per side of the binary grid.
        keep: Probability of a one in it.
        seed: Of the draws.
        rows: Size of the parts.

    Yields:
        float32 (at most `rows`, *space) in [0, 1], on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    cell = [-(-size // cells) for size in space]
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(space)]
    for start in range(0, number, rows):
        grids, shifts = [], []
        for _ in range(min(rows, number - start)):
            grids.append((torch.rand([cells] * len(space), generator=generator) < keep).float())
            shifts.append([int(torch.randint(c, (), generator=generator)) for c in cell])
        size = [(cells + 1) * c for c in cell]
        large = torch.nn.functional.interpolate(torch.stack(grids)[:, None], size=size, mode=mode, align_corners=False)
        crops = []
        for mask, shift in zip(large[:, 0], shifts, strict=True):
            crops.append(mask[tuple(slice(s, s + n) for s, n in zip(shift, space, strict=True))])
        yield torch.stack(crops)


def _scores(logits: Tensor, score: Score) -> Tensor:
    if score == "logit":
        return logits
    return logits.softmax(1) if score == "softmax" else logits.sigmoid()


METHOD = Method(
    "rise",
    "RISE (Petsiuk et al. 2018): random masks averaged by the score of the image seen through them",
    explain,
    signed=False,
    cost="masks (4000) forwards, for all targets",
)
