"""The figure of docs/how_hedging_works.md: where hedging starts, what gamma does, and what each term of Eq. 13 brings.

    uv run docs/figures/terms.py --weights mobilenet_v2.pth

The file is torchvision's state dict of MobileNetV2.
"""

from __future__ import annotations

from typing import Any

from cat_and_cup import SHOWN, images, network, photograph, sheet
from figure_file import arguments, save
from torch import Tensor

from hedgeseg import attribute
from hedgeseg.visual import Picture, seismic

LEFT_OUT = {"C": "contribution", "A": "activated inputs", "U": "inactive inputs", "Psi": "the equal share"}


def figure(weights: str) -> Picture:
    """The photograph and Grad-CAM, hedging at two gammas, and hedging without each of its terms."""
    model = network(weights)

    def cat(method: str = "hedge", **options: Any) -> Tensor:
        return attribute(model, images(), [[0]], method, **options).maps[0, 0]

    return sheet(
        {
            "the photograph": photograph(SHOWN),
            "the start: Grad-CAM": seismic(cat("grad_cam")),
            "hedging, gamma = 1": seismic(cat(gamma=1.0)),
            "hedging, gamma = 2": seismic(cat(gamma=2.0)),
            **{
                f"gamma = 2 without {term}, {name}": seismic(cat(gamma=2.0, ablate=(term,)))
                for term, name in LEFT_OUT.items()
            },
        }
    )


if __name__ == "__main__":
    given = arguments(__file__, __doc__)
    save(figure(given.weights), given.out)
