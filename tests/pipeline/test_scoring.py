import numpy as np
import pytest

from hedgeseg.data.dataset import LabelledImages
from hedgeseg.pipeline.scoring import score_masks
from hedgeseg.seeds.formats import write_mask


class Truth(LabelledImages):
    """Masks and labels as given; None has no mask."""

    def __init__(self, masks, labels):
        super().__init__(("a", "b"), [str(i) for i in range(len(masks))])
        self.masks_, self.labels_ = masks, labels

    def image(self, index):
        return np.zeros((*self.mask(index).shape, 3), np.uint8)

    def mask(self, index):
        return self.masks_[index]

    def labels(self, index):
        return self.labels_[index]


def filled(value, height=4, width=4):
    mask = np.zeros((height, width), np.uint8)
    mask[:2] = value
    return mask


def test_counts_are_pooled_and_void_counts_nowhere(tmp_path):
    true = [filled(1), filled(2)]
    true[1][3] = 255
    found = filled(1)
    found[2] = 1
    write_mask(tmp_path, "0", found)
    write_mask(tmp_path, "1", filled(2))
    scores = score_masks(tmp_path, Truth(true, [(0,), (1,)]))
    assert scores["per_class"]["a"] == pytest.approx(8 / 12)
    assert scores["per_class"]["b"] == 1
    assert scores["per_class"]["background"] == pytest.approx(8 / 12)
    assert scores["miou"] == pytest.approx((8 / 12 + 1 + 8 / 12) / 3)
    assert scores["images"] == 2
    assert scores["miou_low"] <= scores["miou"] <= scores["miou_high"]


def test_what_a_mask_leaves_open_is_background(tmp_path):
    write_mask(tmp_path, "0", filled(255))
    scores = score_masks(tmp_path, Truth([filled(1)], [(0,)]))
    assert scores["per_class"] == {"background": 0.5, "a": 0.0, "b": None}


def test_images_of_no_class_need_no_mask_file_and_are_told_apart(tmp_path):
    write_mask(tmp_path, "0", filled(1))
    write_mask(tmp_path, "1", filled(0))
    write_mask(tmp_path, "2", filled(2))
    scores = score_masks(tmp_path, Truth([filled(1), None, None], [(0,), (), ()]))
    assert scores["free_images"] == 2
    assert scores["free_painted"] == pytest.approx(0.25)
    assert scores["free_images_painted"] == 0.5
    assert scores["per_class"]["b"] == 0


def test_without_true_masks_there_is_no_score(tmp_path):
    write_mask(tmp_path, "0", filled(1))
    assert score_masks(tmp_path, Truth([None], [(0,)])) is None
    assert score_masks(tmp_path, Truth([None], [()])) is None


def test_sizes_must_fit(tmp_path):
    write_mask(tmp_path, "0", filled(1))
    with pytest.raises(ValueError, match="'0'"):
        score_masks(tmp_path, Truth([filled(1, 8, 8)], [(0,)]))
