"""What the callback of the quick start shows of one image, after the first epoch and after later ones.

    uv run docs/figures/watching.py

Trains as `configs/shapes.yaml` says, on the embedded scenes: nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from figure_file import arguments, save
from lightning.pytorch import Trainer, seed_everything
from PIL import Image

from hedgeseg.callbacks import HedgeCallback
from hedgeseg.data import ShapesDataModule
from hedgeseg.models import Classifier
from hedgeseg.visual import Picture, side_by_side

IMAGE = "val_00001"
EPOCHS = (0, 2, 4)


def figure() -> Picture:
    """The callback's own drawings of `IMAGE` after each of `EPOCHS`, beside one another."""
    seed_everything(0)
    with TemporaryDirectory() as folder:
        trainer = Trainer(
            max_epochs=EPOCHS[-1] + 1,
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            callbacks=[HedgeCallback(max_images=8, max_fraction=None)],
        )
        data = ShapesDataModule(num_train=2000, num_val=200, num_predict=1)
        trainer.fit(Classifier(6, "small_cnn", task="multilabel", lr=0.005), data)
        return side_by_side(drawings(Path(folder), EPOCHS), gap=0)


def drawings(folder: Path, epochs: Sequence[int]) -> list[Picture]:
    """What the callback wrote of `IMAGE` after these epochs."""
    found = [sorted(folder.glob(f"hedge/epoch_{epoch:03d}_*/*_{IMAGE}.png"))[0] for epoch in epochs]
    return [np.asarray(Image.open(path).convert("RGB")) for path in found]


if __name__ == "__main__":
    given = arguments(__file__, __doc__, weights=False)
    save(figure(), given.out, quality=75)
