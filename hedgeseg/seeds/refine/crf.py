"""Fully connected CRF with Gaussian edge potentials, solved by mean field, in pure torch.

Source: Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", 2011,
with the symmetric kernel normalisation of their 2013 follow-up. Posteriors agree with the C++ implementation that
`pydensecrf` wraps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hedgeseg.seeds.refine.inputs import check_inputs
from hedgeseg.seeds.refine.lattice import PermutohedralLattice


@dataclass(frozen=True)
class Preset:
    """Kernel widths and weights: positions in pixels, colours in grey levels."""

    smooth_xy: float
    smooth_weight: float
    bilateral_xy: float
    bilateral_rgb: float
    bilateral_weight: float


PRESETS: dict[str, Preset] = {
    "irn": Preset(3, 3, 50, 5, 10),
    "psa": Preset(3, 3, 80, 13, 10),
    "deeplab": Preset(1, 3, 67, 3, 4),
}
"""Settings in circulation: IRN (and AFA), PSA and SEAM, DeepLab (and CLIP-ES)."""

Unary = Literal["probabilities", "labels"]


@torch.no_grad()
def dense_crf(
    image: Tensor | np.ndarray,
    probabilities: Tensor | np.ndarray,
    preset: str | Preset = "irn",
    iterations: int = 10,
    unary: Unary = "probabilities",
    certainty: float = 0.7,
) -> Tensor:
    """Posterior of a dense CRF whose unary term comes from probabilities.

    Labels with no probability anywhere should be left out by the caller: time is linear in the labels.

    Args:
        image: uint8 (H, W, 3), RGB.
        probabilities: float (L, H, W), not negative; background is a label like any other.
        preset: `"irn"`, `"psa"`, `"deeplab"`, or own kernel widths.
        iterations: mean-field steps.
        unary: take the probabilities as they are, or only their argmax (`"labels"`, as IRN does).
        certainty: with `"labels"`, the probability that the label is right.

    Returns:
        float32 (L, H, W) on the probabilities' device, summing to one over the labels.

    Raises:
        ValueError: inputs that do not fit, an unknown preset, or a number out of range.

    Example:
        >>> picture = torch.zeros(6, 8, 3, dtype=torch.uint8)
        >>> picture[:, 4:] = 255  # two halves, and a guess that is off by a column
        >>> right = torch.zeros(6, 8)
        >>> right[:, 5:] = 1
        >>> posterior = dense_crf(picture, torch.stack([1 - right, right]), unary="labels")
        >>> posterior.argmax(0)[0].tolist()
        [0, 0, 0, 0, 1, 1, 1, 1]
    """
    picture, values = check_inputs(image, probabilities)
    return DenseCRF(picture, preset).posterior(values, iterations, unary, certainty)


class DenseCRF:
    """The lattices of one picture, built once, for any number of posteriors.

    Args:
        image: uint8 (H, W, 3), RGB, on the device to work on.
        preset: see `dense_crf`.

    Raises:
        ValueError: unknown preset.
    """

    def __init__(self, image: Tensor | np.ndarray, preset: str | Preset = "irn") -> None:
        picture = torch.as_tensor(image)
        ones = torch.ones(picture.shape[0] * picture.shape[1], 1, device=picture.device)
        self.terms = [
            (weight, lattice, 1 / torch.sqrt(lattice.filter(ones) + 1e-20))
            for weight, lattice in _kernels(picture, _preset(preset))
        ]

    @torch.no_grad()
    def posterior(
        self, probabilities: Tensor, iterations: int = 10, unary: Unary = "probabilities", certainty: float = 0.7
    ) -> Tensor:
        """Mean-field posterior (L, H, W) of probabilities (L, H, W); arguments as in `dense_crf`."""
        if iterations < 0:
            raise ValueError(f"iterations must be 0 or more, got {iterations}")
        labels = len(probabilities)
        if labels < 2:
            return torch.ones_like(probabilities)
        energy = label_unary(probabilities, certainty) if unary == "labels" else probability_unary(probabilities)
        energy = energy.reshape(labels, -1).T.contiguous()
        posterior = torch.softmax(-energy, dim=1)
        for _ in range(iterations):
            message = -energy
            for weight, lattice, norm in self.terms:
                message = message + weight * norm * lattice.filter(norm * posterior)
            posterior = torch.softmax(message, dim=1)
        return posterior.T.reshape(probabilities.shape).contiguous()


def probability_unary(probabilities: Tensor) -> Tensor:
    """Energy -log p of probabilities (L, H, W), p clipped to [1e-5, 1]."""
    return -probabilities.clamp(1e-5, 1).log()


def label_unary(probabilities: Tensor, certainty: float = 0.7) -> Tensor:
    """Energy of the argmax label being right with probability `certainty`, the rest shared by the other labels.

    Raises:
        ValueError: certainty not between 0 and 1.
    """
    if not 0 < certainty < 1:
        raise ValueError(f"certainty must lie between 0 and 1, got {certainty}")
    labels = probabilities.shape[0]
    shared = (1 - certainty) / (labels - 1)
    chosen = torch.zeros_like(probabilities).scatter_(0, probabilities.max(0, keepdim=True).indices, 1.0)
    return -(chosen * certainty + (1 - chosen) * shared).log()


def _preset(preset: str | Preset) -> Preset:
    if isinstance(preset, Preset):
        return preset
    if preset not in PRESETS:
        raise ValueError(f"unknown CRF preset {preset!r}; there are {', '.join(PRESETS)}, or pass a Preset")
    return PRESETS[preset]


def _kernels(picture: Tensor, preset: Preset) -> list[tuple[float, PermutohedralLattice]]:
    """The smoothness kernel over (x, y) and the appearance kernel over (x, y, r, g, b), with their weights."""
    height, width = picture.shape[:2]
    rows, columns = torch.meshgrid(
        torch.arange(height, device=picture.device, dtype=torch.float32),
        torch.arange(width, device=picture.device, dtype=torch.float32),
        indexing="ij",
    )
    position = torch.stack([columns.flatten(), rows.flatten()], dim=1)
    colour = picture.reshape(-1, 3).float()
    bilateral = torch.cat([position / preset.bilateral_xy, colour / preset.bilateral_rgb], dim=1)
    return [
        (preset.smooth_weight, PermutohedralLattice(position / preset.smooth_xy)),
        (preset.bilateral_weight, PermutohedralLattice(bilateral)),
    ]
