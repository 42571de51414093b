import numpy as np

from hedgeseg.data import ImageSubset, Shapes, sample_sheet, train_transform
from hedgeseg.data.sheet import annotated
from hedgeseg.visual import voc_palette


def test_sheet_holds_no_more_pictures_than_there_are():
    sheet = sample_sheet(Shapes(3, image_size=32), rows=2, columns=2, height=32)
    assert sheet.dtype == np.uint8
    assert sheet.shape[2] == 3


def test_masks_and_boxes_are_drawn_where_they_are():
    picture, mask = np.full((20, 40, 3), 100, np.uint8), np.zeros((20, 40), np.uint8)
    mask[5:15, 10:30] = 3
    boxes, labels = np.array([[8, 2, 32, 18]], np.float32), np.array([2])
    drawn = annotated(picture, mask, boxes, labels, 255, height=40)
    assert drawn.shape == (40, 80, 3)
    colour = voc_palette()[3]
    tinted = np.rint(0.4 * 100 + 0.6 * colour).astype(np.uint8)
    assert (drawn[12:28, 22:58] == tinted).all()
    assert (drawn[4, 16:64] == colour).all()
    assert (drawn[35, 16:64] == colour).all()
    assert (drawn[4:36, 16] == colour).all()
    assert (drawn[4:36, 63] == colour).all()
    assert (drawn[:3] == 100).all()


def test_ids_beyond_the_palette_and_wide_void_can_be_drawn():
    picture, mask = np.full((10, 10, 3), 100, np.uint8), np.zeros((10, 10), np.uint16)
    mask[:5], mask[5:8] = 255, 65535
    drawn = annotated(picture, mask, np.zeros((0, 4)), np.zeros(0, int), 65535, height=10)
    assert (drawn[0] == np.rint(0.4 * 100 + 0.6 * voc_palette()[1])).all()
    assert (drawn[5] == np.rint(0.4 * 100 + 0.6 * voc_palette()[255])).all()
    assert (drawn[9] == 100).all()


def test_augmented_images_are_drawn_as_the_network_gets_them():
    data = ImageSubset(Shapes(2, image_size=64), [0, 1], train_transform(48), random=True)
    assert not np.array_equal(sample_sheet(data, height=48, transformed=True), sample_sheet(data, height=48))
