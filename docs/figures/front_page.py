"""The picture of the README: two classes in one photograph, explained one by one, and made into a mask.

    uv run docs/figures/front_page.py --weights mobilenet_v2.pth

The file is torchvision's state dict of MobileNetV2.
"""

from __future__ import annotations

from cat_and_cup import SHOWN, images, network, photograph, sheet
from figure_file import arguments, save

from hedgeseg import attribute
from hedgeseg.seeds import SeedGenerator
from hedgeseg.visual import Picture, colour_mask, overlay, seismic

SEED = {"method": "hedge", "gamma": 2.0, "flip": True, "spread": True, "background": 0.2}


def figure(weights: str) -> Picture:
    """Photograph, signed map, overlays of both classes, seed and refined mask."""
    picture, model = photograph(SHOWN), network(weights)
    cat, cup = attribute(model, images(), [[0, 1]], gamma=1.0).maps[0]
    masks = [
        SeedGenerator(**SEED, refine=refine)(model, images()[0], [0, 1], size=SHOWN, picture=picture).mask
        for refine in (None, "crf")
    ]
    panels = {
        "a photograph": picture,
        "the hedged map for the class cat: red for, blue against": seismic(cat),
        "where the network sees the cat": overlay(picture, cat, percentile=98),
        "where it sees the cup": overlay(picture, cup, percentile=98),
        "the seed of both labels": colour_mask(masks[0], picture),
        "the mask, refined by a dense CRF": colour_mask(masks[1], picture),
    }
    return sheet(panels)


if __name__ == "__main__":
    given = arguments(__file__, __doc__)
    save(figure(given.weights), given.out)
