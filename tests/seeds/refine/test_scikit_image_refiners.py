import sys

import numpy as np
import pytest
import torch

from hedgeseg.seeds import random_walker, superpixel_vote
from hedgeseg.seeds.refine.random_walker import surest
from hedgeseg.seeds.refine.superpixels import segment_means


def two_tone(height=40, width=60):
    image = np.full((height, width, 3), 40, np.uint8)
    image[:, width // 2 :] = 200
    return image


def spots(height=40, width=60):
    """A sure spot on either side, doubt elsewhere."""
    object_ = torch.full((height, width), 0.45)
    object_[15:25, 40:50] = 0.9
    object_[15:25, 10:20] = 0.1
    return torch.stack([1 - object_, object_])


def test_a_random_walk_fills_the_region_up_to_its_edge():
    pytest.importorskip("skimage")
    probabilities = spots()
    probabilities[:, :, 30:] = torch.where(probabilities[:, :, 30:] == 0.55, 0.5, probabilities[:, :, 30:])
    refined = random_walker(two_tone(), probabilities, confident=0.05)
    label = refined.argmax(0)
    assert label[:, :28].float().mean() < 0.05
    assert label[:, 32:].float().mean() > 0.95
    assert torch.allclose(refined.sum(0), torch.ones(40, 60), atol=1e-5)


def test_one_winner_everywhere_is_left_alone():
    pytest.importorskip("skimage")
    probabilities = torch.stack([torch.full((40, 60), 0.8), torch.full((40, 60), 0.2)])
    assert torch.equal(random_walker(two_tone(), probabilities), probabilities)


def test_marks_are_the_surest_share_of_each_label():
    object_ = torch.linspace(0, 1, 100).view(10, 10)
    marks = surest(torch.stack([1 - object_, object_]), 0.2)
    assert int((marks == 1).sum()) == 10
    assert int((marks == 2).sum()) == 10
    assert marks[0, 0] == 1
    assert marks[9, 9] == 2


def test_a_vote_gives_each_segment_one_value():
    pytest.importorskip("skimage")
    noisy = torch.rand(2, 40, 60, generator=torch.Generator().manual_seed(0))
    refined = superpixel_vote(two_tone(), noisy, pixels_per_segment=200)
    assert refined[0].unique().numel() < 40
    assert torch.allclose(refined.mean((1, 2)), noisy.mean((1, 2)), atol=1e-5)


def test_segment_means():
    segments = torch.tensor([[0, 0, 1], [2, 2, 1]])
    values = torch.tensor([[[1.0, 3.0, 5.0], [0.0, 2.0, 7.0]]])
    assert segment_means(values, segments).tolist() == [[[2, 2, 6], [1, 1, 6]]]


@pytest.mark.parametrize("refiner", [random_walker, superpixel_vote])
def test_without_scikit_image_the_extra_is_named(monkeypatch, refiner):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(ImportError, match=r"hedgeseg\[skimage\]"):
        refiner(two_tone(), spots())


def test_shares_are_checked():
    with pytest.raises(ValueError, match="confident"):
        random_walker(two_tone(), spots(), confident=0)
