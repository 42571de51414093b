import pytest
import torch

from hedgeseg.seeds import Seed
from hedgeseg.seeds.agreement import crf_agreement, mask_agreement, suspicion


def mask(*boxes, size=(20, 20)):
    labels = torch.zeros(size, dtype=torch.uint8)
    for label, top, left, bottom, right in boxes:
        labels[top:bottom, left:right] = label
    return labels


def seed(labels, classes, confidence=None):
    return Seed(torch.zeros(len(classes), *labels.shape), classes, labels, confidence)


def test_agreement_is_a_mean_iou_of_the_classes_at_hand():
    one, other = mask((1, 0, 0, 10, 10), (2, 15, 15, 20, 20)), mask((1, 0, 5, 10, 10))
    assert mask_agreement(one, one) == 1
    assert mask_agreement(one, other) == pytest.approx((0.5 + 0) / 2)
    assert mask_agreement(mask(), mask()) == 1
    other[0:10, 0:5] = 255
    other[15:, 15:] = 255
    assert mask_agreement(one, other) == 1
    with pytest.raises(ValueError, match="one size"):
        mask_agreement(mask(), mask(size=(3, 3)))


def test_a_good_seed_is_not_suspicious():
    labels = mask((4, 5, 5, 15, 15))
    assert suspicion(seed(labels, [3], torch.ones(20, 20))).total == 0


def test_what_makes_a_seed_suspicious():
    vanished = suspicion(seed(mask((4, 5, 5, 15, 15)), [3, 7]))
    assert vanished.vanished == 0.5
    empty = suspicion(seed(mask(), [3]))
    assert (empty.vanished, empty.doubt, empty.extreme) == (1, 1, 1)
    everything = suspicion(seed(mask((4, 0, 0, 20, 20)), [3]))
    assert everything.extreme == pytest.approx(1)
    unsure = suspicion(seed(mask((255, 0, 0, 10, 20), (4, 10, 0, 15, 20)), [3], torch.full((20, 20), 0.25)))
    assert unsure.unsure == 0.5
    assert unsure.doubt == 0.75


def test_nothing_is_expected_of_an_image_without_labels():
    assert suspicion(seed(mask(), [])).total == 0


def test_a_mask_on_the_edges_of_its_picture_survives_a_crf():
    picture = torch.full((40, 40, 3), 30, dtype=torch.uint8)
    picture[10:30, 10:30] = 220
    right = mask((1, 10, 10, 30, 30), size=(40, 40))
    beside = mask((1, 0, 22, 24, 40), size=(40, 40))
    assert crf_agreement(seed(right, [0]), picture) > 0.95
    assert crf_agreement(seed(beside, [0]), picture) < 0.7
    assert crf_agreement(seed(mask(size=(40, 40)), [0]), picture) == 1
    assert suspicion(seed(beside, [0]), picture).crf > suspicion(seed(right, [0]), picture).crf
    with pytest.raises(ValueError, match="the seed's size"):
        crf_agreement(seed(right, [0]), picture[:10])


def test_estimates_of_the_generator_are_part_of_the_suspicion():
    labels = mask((4, 5, 5, 15, 15))
    shaky = Seed(torch.zeros(1, 20, 20), [3], labels, torch.ones(20, 20), {"flip": 0.25, "scale": 0.5})
    judged = suspicion(shaky)
    assert (judged.flip, judged.scale, judged.total) == (0.75, 0.5, 1.25)
