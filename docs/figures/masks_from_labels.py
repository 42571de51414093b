"""What `hedgeseg pipeline` makes of labels alone: pseudo-masks, and the answers of the network that learnt from them.

    uv run docs/figures/masks_from_labels.py

Draws good and defective surfaces into `runs/surfaces` (`surfaces.py`) and runs the pipeline over them into
`runs/surfaces_pipeline`, with small networks that learn from scratch (`surfaces.yaml`): nothing is downloaded, and it
goes on where it was stopped. Shown are pictures that were held back.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import surfaces
from figure_file import arguments, save
from PIL import Image

from hedgeseg.data import FolderDataModule
from hedgeseg.pipeline import start
from hedgeseg.visual import Picture, colour_mask, contact_sheet

ROOT, OUT = Path("runs/surfaces"), Path("runs/surfaces_pipeline")
SHOWN = ("crack", "stain", "good")
"""One of each on either half of the sheet."""

COLUMNS = ("picture", "from its label", "the network", "true")


def figure() -> Picture:
    """A row for each of some pictures that were held back, in two halves."""
    surfaces.write(ROOT)
    start(ROOT / "images", OUT, background="good", config=Path(__file__).with_name("surfaces.yaml"))
    data = FolderDataModule(str(ROOT / "images"), background="good")
    data.setup("fit")
    assert data.val_dataset is not None
    left = list(data.val_dataset.ids)
    halves = []
    for _ in range(2):
        chosen = [next(one for one in left if one.startswith(name)) for name in SHOWN]
        left = [one for one in left if one not in chosen]
        halves.append(contact_sheet([panels(identifier) for identifier in chosen], COLUMNS, margin=4))
    return np.concatenate(halves, axis=1)


def panels(identifier: str) -> list[Picture]:
    """The picture, and over it the pseudo-mask, the network's mask and the true one."""
    name, number = identifier.split("__")
    picture = np.asarray(Image.open(ROOT / "images" / name / f"{number}.png"))
    true = ROOT / "masks" / name / f"{number}.png"
    truth = np.zeros(picture.shape[:2], np.uint8)
    if true.is_file():
        truth = (np.asarray(Image.open(true)) > 0) * np.uint8(1 + list(surfaces.COLOURS).index(name))
    made = [np.asarray(Image.open(OUT / stage / "files" / f"{identifier}.png")) for stage in ("pseudo_masks", "masks")]
    return [picture, *(colour_mask(mask, picture) for mask in (*made, truth))]


if __name__ == "__main__":
    given = arguments(__file__, __doc__, weights=False)
    save(figure(), given.out)
