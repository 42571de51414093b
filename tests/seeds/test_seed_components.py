import numpy as np
import torch

from hedgeseg.seeds import Seed
from hedgeseg.seeds.components import regions, seed_objects


def mask():
    labels = np.zeros((20, 20), np.uint8)
    labels[2:6, 3:8] = 2
    labels[10:15, 10:15] = 2
    labels[15:18, 0:4] = 5
    labels[19, 19] = 2
    labels[0, :] = 255
    return labels


def test_each_connected_region_is_an_object_with_its_box():
    found = regions(mask())
    assert found.labels.tolist() == [1, 1, 1, 4]
    assert found.boxes.tolist()[0] == [3, 2, 8, 6]
    assert found.masks.flatten(1).sum(1).tolist() == [20, 25, 1, 12]


def test_small_regions_are_dropped_and_scores_are_means_inside():
    scores = torch.zeros(2, 20, 20)
    scores[0, 2:6, 3:8], scores[0, 10:15, 10:15], scores[1] = 0.5, 1.0, 0.25
    found = seed_objects(Seed(scores, [1, 4], mask()), smallest=10)
    assert found.labels.tolist() == [1, 1, 4]
    assert found.scores.tolist() == [0.5, 1.0, 0.25]


def test_a_mask_without_objects():
    found = regions(np.zeros((4, 5), np.uint8))
    assert found.masks.shape == (0, 4, 5)
    assert found.boxes.shape == (0, 4)
