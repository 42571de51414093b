"""LIME: a linear model of the logit over the presence of segments (Ribeiro et al. 2016).

r = attribute(model, images, targets, method="lime", n_samples=300, grid=8, seed=0)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from hedgeseg.attribution.methods.captum_extra import EXTRA, captum_attr, seed_noise
from hedgeseg.attribution.methods.from_forward import check_positive, explain_each, logits_of, rows_at_once
from hedgeseg.attribution.methods.method import Explanation, Method, Problem


def explain(
    problem: Problem,
    n_samples: int = 300,
    grid: int = 8,
    baselines: float = 0.0,
    width: float = 0.25,
    ridge: float = 1.0,
    seed: int = 0,
) -> Explanation:
    """Coefficients of a ridge regression of the logit on which segments are present (Eq. 1 of the paper), by captum.

    Segments are the cells of a regular grid: superpixels follow the image's edges and so flatter the map wherever it is
    scored against object masks.

    Args:
        problem: What is to be explained.
        n_samples: Number of perturbed images; each segment is left out with probability 1/2.
        grid: Cells per side.
        baselines: Value of a segment that is left out, in normalised units: 0 is the mean colour of the training data.
        width: Of the exponential kernel that weighs a perturbed image, on its cosine distance in segments.
        ridge: Strength of the penalty on the coefficients.
        seed: Of the perturbations. Every image and target meets the same ones, whatever its batch.

    Returns:
        Maps constant on each cell, in logits: what its presence adds. Cost: `n_samples` forward passes per target.

    Raises:
        ValueError: If an option is wrong, or a layer is given.
        ImportError: If captum is not installed.
    """
    check_positive(n_samples=n_samples, grid=grid, width=width, ridge=ridge)
    attr, forward = captum_attr("lime"), logits_of(problem)

    def nearness(original: Tensor, perturbed: Tensor, present: Tensor, **_: Any) -> Tensor:
        share = present.float().mean()
        return torch.exp(
            -((1 - share.sqrt()) ** 2) / (2 * width**2)
        )  # the cosine of a 0/1 vector and the vector of ones

    def explain_one(image: Tensor, targets: Tensor) -> Tensor:
        cells = grid_cells(image.shape[2:], grid, image.device)
        rows = []
        for target in targets.tolist():
            seed_noise(seed)
            method = attr.Lime(forward, interpretable_model=Ridge(ridge), similarity_func=nearness)
            values = method.attribute(
                image,
                baselines=baselines,
                target=target,
                feature_mask=cells.expand_as(image),
                n_samples=n_samples,
                perturbations_per_eval=rows_at_once(problem),
            )
            rows.append(values[0, 0])  # a cell covers all channels, which share its coefficient
        return torch.stack(rows)

    return explain_each(problem, "lime", explain_one)


def grid_cells(space: torch.Size, grid: int, device: torch.device) -> Tensor:
    """Index of the grid cell of every position: int64 `space`, from 0 without gaps."""
    cells = torch.zeros(space, dtype=torch.int64, device=device)
    for dim, size in enumerate(space):
        along = torch.arange(size, device=device) * min(grid, size) // size
        cells = cells * min(grid, size) + along.view([-1 if d == dim else 1 for d in range(len(space))])
    return cells


class Ridge:
    """The linear model that captum's LIME fits: weighted least squares with a penalty, solved in float64.

    Args:
        penalty: Weight of the squared coefficients; the intercept has none.
    """

    def __init__(self, penalty: float) -> None:
        self.penalty = penalty
        self.coefficients = torch.zeros(0)

    def fit(self, train_data: Iterable[tuple[Tensor, Tensor, Tensor]], **_: Any) -> None:
        """Fit to batches of features (n, F), values (n,) and weights (n,)."""
        batches = list(train_data)
        x, y, w = (torch.cat([batch[i] for batch in batches]).double() for i in range(3))
        y, w = y.flatten(), w.flatten()
        x, y = x - w @ x / w.sum(), y - w @ y / w.sum()
        penalty = self.penalty * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        self.coefficients = torch.linalg.solve(x.T @ (w[:, None] * x) + penalty, x.T @ (w * y)).float()

    def representation(self) -> Tensor:
        """The coefficients, (F,)."""
        return self.coefficients


METHOD = Method(
    "lime",
    "LIME (Ribeiro et al. 2016): linear model of the logit over the presence of grid cells",
    explain,
    signed=True,
    cost="n_samples (300) forwards per target",
    extra=EXTRA,
    renamed={"samples": "n_samples", "baseline": "baselines"},
)
