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


def test_a_random_walk_is_the_solution_of_its_linear_system():
    """Against Grady's Dirichlet problem, solved densely in float64 with scikit-image's edge weights."""
    pytest.importorskip("skimage")
    height, width, beta = 17, 19, 130.0
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
    given = torch.rand(3, height, width, generator=generator)
    given = given / given.sum(0)
    marks = surest(given, 0.3).flatten().numpy()
    colours = image.double().numpy().reshape(-1, 3) / 255
    index = np.arange(height * width).reshape(height, width)
    edges = np.concatenate(
        [np.stack([index[:, :-1].ravel(), index[:, 1:].ravel()]), np.stack([index[:-1].ravel(), index[1:].ravel()])], 1
    )
    contrast = ((colours[edges[0]] - colours[edges[1]]) ** 2).sum(1)
    weights = np.exp(-beta / (10 * colours.std()) / np.sqrt(3) * contrast) + 1e-10
    laplacian = np.zeros((height * width, height * width))
    for (a, b), weight in zip(edges.T, weights, strict=True):
        laplacian[[a, b], [b, a]] -= weight
        laplacian[[a, b], [a, b]] += weight
    free = marks == 0
    fixed = np.eye(4)[marks[~free]][:, 1:]
    expected = np.zeros((height * width, 3))
    expected[~free] = fixed
    expected[free] = np.linalg.solve(laplacian[np.ix_(free, free)], -laplacian[np.ix_(free, ~free)] @ fixed)
    refined = random_walker(image, given, confident=0.3, beta=beta, scale=1.0)
    np.testing.assert_allclose(refined.flatten(1).T.numpy(), expected, atol=1e-5)


def test_nothing_is_left_to_a_walk_where_every_pixel_is_a_mark():
    pytest.importorskip("skimage")
    refined = random_walker(two_tone(), spots(), confident=1.0)
    assert refined.shape == (2, 40, 60)
    assert (refined.argmax(0) == spots().argmax(0)).float().mean() > 0.98


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
