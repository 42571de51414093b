"""Embedded data: scenes of textured shapes made on the fly from a seed and an index. No files, no downloads.

Most scenes hold two or three classes, so a saliency that lights up every object, or that ignores the class it was
asked about, scores badly.
"""

import numpy as np

from hedgeseg.data.dataset import LabelledImages
from hedgeseg.data.module import ImageDataModule
from hedgeseg.data.scene import SHAPES, Scene, draw_scene
from hedgeseg.data.transforms import Normalised, Pipeline

_SPLITS = ("train", "val", "predict")
_KEPT = 2**29
"""Scenes are kept while their images take no more memory than this; of larger sets each scene is drawn anew."""


class Shapes(LabelledImages):
    """`length` scenes; scene i is a function of (seed, split, i) alone. Scenes are drawn once and kept, as bytes.

    Args:
        length: number of scenes.
        split: "train", "val" or "predict": the scenes of different splits are independent.
        seed: start of everything random, not negative.
        image_size: side of the square scene in pixels.
        transform: pipeline over image, mask and boxes.

    Raises:
        ValueError: no scene asked for, scenes too small to tell shapes apart, or an unknown split.
    """

    def __init__(
        self,
        length: int,
        split: str = "train",
        seed: int = 0,
        image_size: int = 128,
        transform: Pipeline | None = None,
    ) -> None:
        if split not in _SPLITS:
            raise ValueError(f"split must be one of {_SPLITS}, got {split!r}")
        if image_size < 32:
            raise ValueError(f"image_size must be at least 32 to tell shapes apart, got {image_size}")
        super().__init__(tuple(SHAPES), [f"{split}_{i:05d}" for i in range(length)], transform)
        self.split = split
        self.seed = seed
        self.image_size = image_size
        self._drawn: dict[int, Scene] = {}

    def scene(self, index: int) -> Scene:
        """The drawn scene with everything known about it."""
        index = range(len(self))[index]
        scene = self._drawn.get(index)
        if scene is None:
            rng = np.random.default_rng((self.seed, _SPLITS.index(self.split), index))
            scene = draw_scene(rng, self.image_size)
            if scene.image.nbytes * len(self) <= _KEPT:
                self._drawn[index] = scene
            else:  # a sample asks for image, mask and boxes of one scene in turn
                self._drawn = {index: scene}
        return scene

    def image(self, index: int) -> np.ndarray:
        """The scene, uint8 (side, side, 3)."""
        return self.scene(index).image.copy()

    def mask(self, index: int) -> np.ndarray:
        """Class ids of the visible pixels, uint8 (side, side)."""
        return self.scene(index).mask.copy()

    def labels(self, index: int) -> tuple[int, ...]:
        """Classes in the scene."""
        return tuple(np.unique(self.scene(index).box_labels).tolist())

    def boxes(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Tight boxes around what is visible of each object."""
        return self.scene(index).boxes.copy(), self.scene(index).box_labels.copy()


class ShapesDataModule(ImageDataModule):
    """Train, validation and prediction scenes of `Shapes`; nothing to download, nothing to augment.

    Args:
        num_train: scenes to learn from.
        num_val: scenes to validate on.
        num_predict: scenes to make seeds for.
        image_size: side of the square scenes in pixels.
        batch_size: images of a batch.
        num_workers: processes that draw scenes beside the main one.
        seed: start of everything random.
    """

    def __init__(
        self,
        num_train: int = 2500,
        num_val: int = 200,
        num_predict: int = 100,
        image_size: int = 128,
        batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(image_size, batch_size, num_workers, seed)
        self.save_hyperparameters()
        self.lengths = {"train": num_train, "val": num_val, "predict": num_predict}

    @property
    def classes(self) -> tuple[str, ...]:
        """The six shapes."""
        return tuple(SHAPES)

    @property
    def eval_transform(self) -> Pipeline:
        """Square scenes have the network's size already."""
        square = self.image_size[0] == self.image_size[1]
        return Normalised(self.mean, self.std) if square else super().eval_transform

    def setup(self, stage: str | None = None) -> None:
        """Makes the three sets; scenes are drawn when they are asked for."""
        self.train_dataset, self.val_dataset, self.predict_dataset = (
            Shapes(self.lengths[split], split, self.seed, self.image_size[0], self.eval_transform) for split in _SPLITS
        )
