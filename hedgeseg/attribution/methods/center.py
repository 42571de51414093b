"""The centre of the image: what a map must beat, because photographers aim.

r = attribute(model, images, targets, method="center", width=0.25)
"""

from __future__ import annotations

import torch
from torch import Tensor

from hedgeseg.attribution.methods.from_forward import check_positive, explain_each
from hedgeseg.attribution.methods.method import Explanation, Method, Problem


def explain(problem: Problem, width: float = 0.25) -> Explanation:
    """``exp(-sum_d ((u_d - c_d) / (width n_d))^2 / 2)`` for a pixel u, the centre c and sides n: no look at the model.

    The "center" baseline of the pointing game (J. Zhang et al., "Top-Down Neural Attention by Excitation Backprop",
    2018).

    Args:
        problem: What is to be explained.
        width: Standard deviation, relative to each side of the image.

    Returns:
        Maps in (0, 1], the same for every image and target, not signed. Cost: one forward pass, for the logits.

    Raises:
        ValueError: If `width` is not positive, or a layer is given.
    """
    check_positive(width=width)

    def explain_one(image: Tensor, targets: Tensor) -> Tensor:
        bump = torch.ones((), dtype=problem.dtype, device=image.device)
        for size in image.shape[2:]:
            along = (torch.arange(size, dtype=problem.dtype, device=image.device) - (size - 1) / 2) / (width * size)
            bump = bump[..., None] * torch.exp(-(along**2) / 2)
        return bump.expand(len(targets), *bump.shape)

    return explain_each(problem, "center", explain_one)


METHOD = Method("center", "Centre of the image, a baseline: a Gaussian bump, no look at the model", explain, False)
