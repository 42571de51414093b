"""Extremal perturbation: the smooth mask of a given area through which the class scores best (Fong et al. 2019).

r = attribute(model, images, targets, method="extremal_perturbation", areas=(0.025, 0.05, 0.1, 0.2))

Source: R. Fong, M. Patrick, A. Vedaldi, "Understanding Deep Networks via Extremal Perturbations and Smooth Masks",
ICCV 2019, written from the paper. A mask m of area a maximises ``y_t(m (x) x) - w |sort(m) - r_a|^2`` (Eq. 4 and 5),
where ``r_a`` is 0 but for the largest share a of pixels, where it is 1; ``m (x) x`` blurs the image where m is small
(`perturb`), and m is the smooth maximum of bumps on a coarse grid (`smooth_masks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from hedgeseg.attribution.methods.from_forward import Forward, check_positive, explain_each, logits_of, rows_at_once
from hedgeseg.attribution.methods.method import Explanation, Method, Problem

AREAS = (0.025, 0.05, 0.1, 0.2)

_CELLS = 28  # of the coarse grid, along the shorter side
_REACH = 4  # cells: how far a bump is followed
_TEMPERATURE = 1 / 20  # of the smooth maximum
_LEVELS = 8  # of blur, between which is interpolated
_BLUR = 20 / 224  # the strongest blur's standard deviation, relative to the shorter side
_RATE, _MOMENTUM = 0.01, 0.9
_AREA_WEIGHT = 300.0  # doubled after one and after two thirds of the iterations


def explain(
    problem: Problem, areas: Sequence[float] = AREAS, iterations: int = 800, smooth: float = 0.09
) -> Explanation:
    """The mean of the extremal masks of several areas, smoothed (as for the pointing game in Sec. 4.2 of the paper).

    Args:
        problem: What is to be explained.
        areas: Shares of the image in (0, 1).
        iterations: Steps of gradient ascent.
        smooth: Standard deviation of the final Gaussian relative to the shorter side; 0 for none.

    Returns:
        Maps in [0, 1], not signed: in how many of the areas' best masks the pixel is kept. Cost: `iterations` forward
        and backward passes per area and target. There is no noise: the masks start all open.

    Raises:
        ValueError: If an option is wrong, or a layer is given.
    """
    check_positive(iterations=iterations)
    if not areas or not all(0 < a < 1 for a in areas):
        raise ValueError(f"areas={areas!r}: must be shares of the image, between 0 and 1")
    if not 0 <= smooth < 1:
        raise ValueError(f"smooth={smooth!r}: must lie in [0, 1), relative to the shorter side of the image")
    forward, rows = logits_of(problem), rows_at_once(problem)

    def explain_one(image: Tensor, targets: Tensor) -> Tensor:
        parts = [list(areas[i : i + rows]) for i in range(0, len(areas), rows)]
        maps = []
        for target in targets.tolist():
            masks = torch.cat([best_masks(forward, image, target, part, iterations) for part in parts])
            maps.append(blurred(masks.mean(0)[None, None], smooth * min(image.shape[2:]))[0, 0])
        return torch.stack(maps)

    return explain_each(problem, "extremal_perturbation", explain_one)


METHOD = Method(
    "extremal_perturbation",
    "Extremal perturbation (Fong et al. 2019): smooth masks of given areas through which the class scores best",
    explain,
    signed=False,
    cost="areas (4) x iterations (800) forwards and backwards per target",
)


def best_masks(forward: Forward, image: Tensor, target: int, areas: Sequence[float], iterations: int) -> Tensor:
    """Optimise one mask per area.

    Args:
        forward: From images to logits.
        image: (1, C, *space).
        target: The class.
        areas: A shares in (0, 1).
        iterations: Steps of gradient ascent with momentum.

    Returns:
        Masks (A, *space) in [0, 1].
    """
    space = image.shape[2:]
    levels = blur_levels(image)
    step = max(1, min(space) // _CELLS)
    ideal = ideal_order(areas, space.numel(), image)
    bumps = torch.ones(len(areas), *(-(-size // step) for size in space), device=image.device)
    velocity = torch.zeros_like(bumps)
    for i in range(iterations):
        # At the start all pixels tie, and their order would be an accident: the class decides the first step alone.
        weight = 0.0 if i == 0 else _AREA_WEIGHT * 2 ** (3 * i // iterations)
        with torch.enable_grad():
            leaf = bumps.clone().requires_grad_()
            masks = smooth_masks(leaf, step, space)
            reward = forward(perturb(levels, masks).to(image.dtype))[:, target].sum()
            penalty = (masks.flatten(1).sort(1).values - ideal).square().mean(1).sum()
            (slope,) = torch.autograd.grad(reward - weight * penalty, leaf)
        velocity = _MOMENTUM * velocity + slope
        bumps = (bumps + _RATE * velocity).clamp(0, 1)
    return smooth_masks(bumps, step, space)


def ideal_order(areas: Sequence[float], pixels: int, like: Tensor) -> Tensor:
    """The sorted values of a binary mask of each area, r_a of Eq. 4: (A, pixels), zeros before ones."""
    rank = torch.arange(pixels, device=like.device)
    return torch.stack([(rank >= round((1 - a) * pixels)).float() for a in areas])


def smooth_masks(bumps: Tensor, step: int, space: torch.Size) -> Tensor:
    """The smooth maximum of a kernel's copies at every cell, scaled by the cell's value (Eq. 7 to 9).

    ``m(u) = smax_v k(|u - v| / step) b(v)`` with ``k(z) = exp(-max(0, z - 1)^2 / 4)`` and
    ``smax f = sum f exp(f / T) / sum exp(f / T)``, T = 1/20.

    Args:
        bumps: (A, *cells) in [0, 1].
        step: Pixels per cell.
        space: Size of the masks.

    Returns:
        (A, *space) in [0, 1].
    """
    dims = len(space)
    offsets = list(product(range(-_REACH, _REACH + 1), repeat=dims))
    reach = [_REACH] * (2 * dims)
    padded = torch.nn.functional.pad(bumps[:, None], reach, mode="replicate")[:, 0]
    around = torch.stack(
        [
            padded[
                (
                    slice(None),
                    *(slice(_REACH + o, _REACH + o + n) for o, n in zip(offset, bumps.shape[1:], strict=True)),
                )
            ]
            for offset in offsets
        ],
        dim=-1,
    )  # (A, *cells, offsets)
    within = torch.cartesian_prod(*[torch.arange(step, device=bumps.device) + 0.5 - step / 2] * dims).view(-1, dims)
    centres = step * torch.tensor(offsets, dtype=bumps.dtype, device=bumps.device).view(-1, dims)
    distance = torch.cdist(within, centres) / step
    kernel = torch.exp(-((distance - 1).clamp(min=0) ** 2) / 4)  # (pixels of a cell, offsets)
    values = around[..., None, :] * kernel
    masks = ((values / _TEMPERATURE).softmax(-1) * values).sum(-1)  # (A, *cells, pixels of a cell)
    cells = bumps.shape[1:]
    masks = masks.view(len(bumps), *cells, *[step] * dims)
    masks = masks.permute(0, *(d for i in range(dims) for d in (1 + i, 1 + dims + i)))
    masks = masks.reshape(len(bumps), *(n * step for n in cells))
    return masks[(slice(None), *(slice(0, size) for size in space))]


def blur_levels(image: Tensor) -> Tensor:
    """The image (1, C, *space) blurred ever more strongly: (levels, C, *space), the first as it is."""
    strongest = _BLUR * min(image.shape[2:])
    image = image.float()
    return torch.cat([blurred(image, strongest * i / (_LEVELS - 1)) for i in range(_LEVELS)])


def perturb(levels: Tensor, masks: Tensor) -> Tensor:
    """Blur by ``(1 - m) * strongest`` at every position (Eq. 6), interpolated between levels.

    Args:
        levels: (L, C, *space) from `blur_levels`.
        masks: (A, *space) in [0, 1]; 1 keeps the image.

    Returns:
        (A, C, *space).
    """
    at = (1 - masks[:, None]) * (len(levels) - 1)
    return torch.stack([(1 - (at - i).abs()).clamp(min=0) * level for i, level in enumerate(levels)]).sum(0)


def blurred(images: Tensor, deviation: float) -> Tensor:
    """Gaussian blur of (N, C, *space) along all dimensions of space, borders repeated."""
    if deviation <= 0:
        return images
    radius = max(1, int(3 * deviation + 0.5))
    kernel = torch.exp(-((torch.arange(-radius, radius + 1, device=images.device) / deviation) ** 2) / 2)
    kernel = (kernel / kernel.sum()).to(images.dtype).view(1, 1, -1)
    for dim in range(2, images.ndim):
        moved = images.movedim(dim, -1)
        lines = torch.nn.functional.pad(moved.reshape(-1, 1, moved.shape[-1]), [radius] * 2, mode="replicate")
        images = torch.nn.functional.conv1d(lines, kernel).view(moved.shape).movedim(-1, dim)
    return images
