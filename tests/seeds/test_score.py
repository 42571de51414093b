import json

import numpy as np
import pytest
import torch

from hedgeseg.seeds import Seed, write_seed
from hedgeseg.seeds.score import SeedScore, score_folder, score_seeds
from hedgeseg.seeds.table import class_table, score_table, write_scores

CLASSES = ("a", "b", "c")


class Masks:
    classes = CLASSES

    def __init__(self, masks):
        self.ids = [f"image_{i}" for i in range(len(masks))]
        self.masks = masks

    def mask(self, index):
        return self.masks[index]


def truth(index):
    mask = np.zeros((32, 32), np.uint8)
    mask[4:16, 4:16] = 1 + index % 2
    if index % 3 == 0:
        mask[20:30, 8:28] = 3
    mask[:, 31] = 255
    return mask


def seed_of(mask, blur=0.0):
    labels = torch.from_numpy(np.where(mask == 255, 0, mask))
    classes = [c - 1 for c in labels.unique().tolist() if c]
    scores = torch.stack([(labels == c + 1).float() for c in classes])
    noise = torch.rand(scores.shape, generator=torch.Generator().manual_seed(0))
    return Seed((1 - blur) * scores + blur * noise, classes, labels)


def test_perfect_seeds_score_perfectly():
    masks = [truth(i) for i in range(4)]
    result = score_seeds([seed_of(m) for m in masks], masks, CLASSES)
    for key in ("miou", "miou_best", "precision", "recall", "coverage", "pixel_average_precision"):
        assert result[key] == pytest.approx(1), key
    assert result["map_segm"] == pytest.approx(1)
    assert result["map_bbox"] == pytest.approx(1)
    assert result["outside_inside_ratio"] == pytest.approx(0)
    assert result["images"] == 4


def test_noise_costs_rank_but_not_the_mask():
    masks = [truth(i) for i in range(4)]
    clean = score_seeds([seed_of(m) for m in masks], masks, CLASSES, detection=False)
    noisy = score_seeds([seed_of(m, 0.7) for m in masks], masks, CLASSES, detection=False)
    assert noisy["miou"] == clean["miou"]
    assert noisy["miou_best"] < clean["miou_best"]
    assert noisy["pixel_average_precision"] < clean["pixel_average_precision"]
    assert "map_segm" not in noisy


def test_a_seed_beside_its_object_leaves_the_ratio_finite():
    masks = [truth(1), truth(2)]
    beside = torch.zeros(1, 32, 32)
    beside[0, 20:, :] = 1
    faint = beside.clone()
    faint[0, 5, 5] = 1e-12  # on the object: this ratio alone is about 1e14
    seeds = [Seed(faint, [1], torch.zeros(32, 32)), seed_of(truth(2))]
    result = score_seeds(seeds, masks, CLASSES, detection=False)
    assert 0 < result["outside_inside_ratio"] < 2


def test_a_folder_scores_like_memory_and_counts_what_is_missing(tmp_path):
    masks = [truth(i) for i in range(4)]
    for index in range(3):
        write_seed(tmp_path, f"image_{index}", seed_of(masks[index], 0.4))
    result = score_folder(tmp_path, Masks([*masks, None]), detection=False)
    memory = score_seeds([seed_of(m, 0.4) for m in masks[:3]], masks[:3], CLASSES, detection=False)
    assert result["miou_best"] == pytest.approx(memory["miou_best"])
    assert result["without_seed"] == 2
    assert result["images"] == 3


def test_images_without_labels_or_masks_do_not_stop_it(tmp_path):
    blank = Seed(torch.zeros(0, 32, 32), [], torch.zeros(32, 32))
    result = score_seeds([blank, seed_of(truth(0))], [np.zeros((32, 32), np.uint8), truth(0)], CLASSES)
    assert result["images"] == 2
    assert result["miou"] == pytest.approx(1)
    write_seed(tmp_path, "image_0", blank)
    assert score_folder(tmp_path, Masks([np.zeros((32, 32), np.uint8)]))["images"] == 1


def test_what_does_not_fit_is_named(tmp_path):
    write_seed(tmp_path, "image_0", seed_of(truth(0)))
    with pytest.raises(ValueError, match=r"image 'image_0'.*pixels"):
        score_folder(tmp_path, Masks([truth(0)[:10]]))
    with pytest.raises(ValueError, match="no seed has been scored"):
        score_folder(tmp_path, Masks([None]))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        score_folder(tmp_path / "nowhere", Masks([]))
    with pytest.raises(ValueError, match="no seed has been scored"):
        SeedScore(CLASSES).compute()


def test_table_and_json(tmp_path):
    masks = [truth(1)]
    result = score_seeds([seed_of(m) for m in masks], masks, CLASSES, detection=False)
    table = score_table({"hedge": result, "grad_cam": result})
    assert table.splitlines()[0].split()[:5] == ["|", "|", "n", "|", "mIoU"]
    assert len({len(line) for line in table.splitlines()}) == 1
    assert "| a " not in class_table(result)
    stored = json.loads(write_scores(tmp_path / "scores.json", result).read_text())
    assert stored["miou"] == 1.0
    assert stored["per_class"]["a"]["iou"] is None


def test_more_classes_than_seeds_hold(tmp_path):
    wide = Masks([truth(0)])
    wide.classes = tuple(str(number) for number in range(255))
    with pytest.raises(ValueError, match="255 classes: seeds are masks of eight bits, which tell 254 classes apart"):
        score_folder(tmp_path, wide)


def test_masks_that_mark_nothing_but_void_are_refused(tmp_path):
    class Binary:
        classes = ("crack",)
        ids = ("a", "b")

        def mask(self, index):
            mask = np.zeros((8, 8), np.uint8)
            mask[2:6, 2:6] = 255
            return mask

    for name in Binary.ids:
        write_seed(tmp_path, name, Seed(torch.zeros(1, 8, 8), [0], torch.zeros(8, 8, dtype=torch.uint8)))
    with pytest.raises(ValueError, match=r"any seeds would score 1.*mask_values {255: NAME}"):
        score_folder(tmp_path, Binary())
