"""Every propagation and CAM method on one photograph of two classes: does its map tell the cat from the cup?

    uv run docs/figures/methods.py --weights mobilenet_v2.pth

The file is torchvision's state dict of MobileNetV2.
"""

from __future__ import annotations

import numpy as np
from cat_and_cup import SHOWN, images, network, photograph
from figure_file import arguments, save
from PIL import Image

from hedgeseg import attribute
from hedgeseg.visual import Picture, contact_sheet, overlay

METHODS = (
    "hedge", "grad_cam", "grad_cam_plus_plus", "relevance_cam", "full_grad", "excitation_backprop",
    "contrastive_excitation_backprop", "deep_taylor", "lrp_epsilon", "lrp_alpha_beta", "contrastive_lrp",
    "softmax_gradient_lrp", "rap", "rsp", "agf", "gradient", "guided_backprop", "deep_lift",
)  # fmt: skip
SIZE = (255, 85)
"""Width and height of a panel."""


def figure(weights: str) -> Picture:
    """A row per method: what speaks for the cat, what for the cup."""
    picture, model = photograph(SHOWN), network(weights)
    rows = []
    for method in METHODS:
        cat, cup = attribute(model, images(), [[0, 1]], method=method).maps[0]
        rows.append([_small(overlay(picture, cat, percentile=99)), _small(overlay(picture, cup, percentile=99))])
    half = (len(rows) + 1) // 2
    sheets = [
        contact_sheet(part, ["for the cat", "for the cup"], rows=names, margin=4)
        for part, names in ((rows[:half], METHODS[:half]), (rows[half:], METHODS[half:]))
    ]
    return np.concatenate(sheets, axis=1)


def _small(panel: Picture) -> Picture:
    return np.asarray(Image.fromarray(panel).resize(SIZE, Image.Resampling.LANCZOS))


if __name__ == "__main__":
    given = arguments(__file__, __doc__)
    save(figure(given.weights), given.out)
