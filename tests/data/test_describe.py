import warnings

import numpy as np
import pytest

from hedgeseg.data import ImageSubset, LabelledImages, Shapes, describe
from hedgeseg.data.describe import spread


class Two(LabelledImages):
    """A 10 x 20 image of class 0 with a mask, and a 30 x 40 one of both classes without class 1 in its mask."""

    def __init__(self, masked=True, classes=("ant", "bee")):
        super().__init__(classes, ["a", "b"])
        self.masked = masked

    def image(self, index):
        return np.zeros(((10, 20, 3), (30, 40, 3))[index], np.uint8)

    def mask(self, index):
        if not self.masked:
            return None
        mask = np.zeros(self.image(index).shape[:2], np.uint16 if len(self.classes) > 2 else np.uint8)
        mask[:5] = 1
        mask[5] = self.void
        return mask

    def labels(self, index):
        return ((0,), (0, 1))[index]

    def boxes(self, index):
        return np.array([[0, 0, 20, 5]], np.float32), np.array([0])


class Strange(Two):
    def labels(self, index):
        return ((1,), ())[index]


def test_masks_that_contradict_the_labels_are_named():
    described = describe(Strange())
    reasons = {
        "a": "the mask shows ant, the labels say bee",
        "b": "the mask shows ant, the labels say none of the classes",
    }
    assert described.pixels.contradictions == reasons
    assert "masks that contradict their labels: 2 of 2, such as a: the mask shows ant, the labels say bee" in str(
        described
    )
    assert "contradict" not in str(describe(Two()))


def test_counts_are_those_of_the_samples():
    data = Shapes(30, image_size=32)
    described = describe(data, "scenes")
    labels = np.stack([data[i]["label"].numpy() for i in range(30)])
    assert list(described.images_of.values()) == labels.sum(0).astype(int).tolist()
    assert sum(described.boxes_of.values()) == sum(len(data.boxes(i)[0]) for i in range(30))
    assert described.labels_per_image == labels.sum() / 30
    assert described.pixels.masks == described.pixels.read == 30
    assert described.pixels.masks_of == described.images_of
    text = str(described)
    assert text.startswith("scenes: 30 images, 6 classes")
    assert all(name in text for name in data.classes)


@pytest.mark.parametrize("classes", [("ant", "bee"), tuple(str(i) for i in range(300))])
def test_pixels_are_counted(classes):
    pixels = describe(Two(classes=classes)).pixels
    assert pixels.sizes == ((10, 20), (30, 40), (30, 40))
    assert list(pixels.masks_of.values())[:2] == [2, 0]
    assert pixels.unseen == 1  # the bee of the second image
    void, total, ants = 20 + 40, 200 + 1200, 100 + 200
    assert pixels.void == void / total
    assert pixels.background == (total - void - ants) / (total - void)


def test_without_masks():
    described = describe(Two(masked=False))
    assert described.pixels.masks == 0
    assert "masks: none" in str(described)


def test_only_as_many_images_are_read_as_wanted():
    described = describe(Shapes(30, image_size=32), limit=4)
    assert described.images == sum(1 for _ in range(30))
    assert described.pixels.read == 4
    assert spread(10, 3) == [0, 4, 9]
    assert spread(2, 5) == spread(2, None) == [0, 1]


def test_subsets_can_be_described():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert describe(ImageSubset(Shapes(9, image_size=32), [3, 5])).images == 2
