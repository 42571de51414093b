"""What the methods that captum computes share: its import, seeded noise and one image at a time.

Noise that is added to an image is drawn here and on the CPU, so that a seed means the same on every device.

captum is the extra ``hedgeseg[captum]``, imported when such a method is called. Its methods batch by repeating rows;
here they are called with one image and one target at a time, because noise that is drawn for a batch, and DeepLIFT's
treatment of equal activations, would otherwise make an image's map depend on its neighbours.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hedgeseg.attribution.methods.from_forward import explain_each
from hedgeseg.attribution.methods.method import Explanation, Problem

EXTRA = "captum"


def captum_attr(method: str) -> Any:
    """The module `captum.attr`.

    Raises:
        ImportError: captum is not installed; the message says what to install.
    """
    try:
        return importlib.import_module("captum.attr")
    except ImportError as error:
        raise ImportError(
            f'method {method!r} needs captum, which the plain install leaves out: pip install "hedgeseg[captum]"'
        ) from error


def seed_noise(seed: int) -> None:
    """Start the random streams that captum draws from on the CPU, torch's and numpy's, at `seed`.

    captum takes no generator. The caller's streams are put back by `explaining` when the attribution ends, so what is
    drawn depends on the seed alone: every image and every target of a call meets the same draws.

    Raises:
        ValueError: If the seed is no integer in [0, 2**32).
    """
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed!r}: must be an integer in [0, 2**32)")
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the stream that captum uses


def mean_over_noise(image: Tensor, noise: float, number: int, seed: int, explain: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean of what `explain` says of ``x + e_i``, ``e_i ~ N(0, s^2)`` with ``s = noise (max x - min x)``.

    The draws are the same on every device and in every precision.

    Args:
        image: (1, C, *space).
        noise: Relative to the range of the image's values.
        number: Of noisy copies, explained one at a time.
        seed: Of the draws.
        explain: From a copy, which requires a gradient, to values of its shape.
    """
    generator, image = torch.Generator().manual_seed(seed), image.detach()
    deviation = noise * float(image.max() - image.min())
    total = torch.zeros_like(image)
    for _ in range(number):
        drawn = torch.randn(image.shape, generator=generator, dtype=torch.float32)  # other dtypes have other streams
        total += explain((image + deviation * drawn.to(image)).requires_grad_()).detach()
    return total / number


def sum_of_channels(
    problem: Problem, method: str, explain_target: Callable[[Tensor, int], Tensor], seed: int = 0
) -> Explanation:
    """Maps of a captum method that explains one target of one image by one value per entry of the image.

    Args:
        problem: What is to be explained.
        method: The method's name.
        explain_target: From an image (1, C, *space), which requires a gradient, and a class to values of that shape.
        seed: Of the noise, set anew before every call.

    Returns:
        The values summed over the channels.
    """

    def explain_one(image: Tensor, targets: Tensor) -> Tensor:
        rows = []
        for target in targets.tolist():
            seed_noise(seed)
            with torch.enable_grad():
                rows.append(explain_target(image.detach().clone().requires_grad_(), target).detach()[0].sum(0))
        return torch.stack(rows)

    return explain_each(problem, method, explain_one)
