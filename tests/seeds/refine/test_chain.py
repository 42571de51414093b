import numpy as np
import pytest
import torch

from hedgeseg.seeds import dense_crf, guided_filter
from hedgeseg.seeds.refine import REFINERS, as_refiner, refined

IMAGE = np.random.default_rng(0).integers(0, 255, (16, 18, 3), dtype=np.uint8)


def probabilities():
    return torch.softmax(torch.randn(3, 16, 18, generator=torch.Generator().manual_seed(0)), 0)


def test_steps_run_in_order_with_their_options():
    chain = as_refiner(["guided", {"crf": {"preset": "psa", "iterations": 2}}, lambda image, p: p / 2])
    expected = dense_crf(IMAGE, guided_filter(IMAGE, probabilities()), "psa", 2, unary="labels") / 2
    assert torch.equal(chain(IMAGE, probabilities()), expected)


@pytest.mark.parametrize("nothing", [None, []])
def test_no_steps_is_no_refiner(nothing):
    assert as_refiner(nothing) is None


@pytest.mark.parametrize("name", ["crf", "pamr", "guided"])
def test_refiners_keep_shape_type_and_device(name):
    refined = REFINERS[name](IMAGE, probabilities())
    assert refined.shape == (3, 16, 18)
    assert refined.dtype == torch.float32
    assert bool(torch.isfinite(refined).all())


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="unknown refiner 'crff'"):
        as_refiner("crff")
    with pytest.raises(TypeError, match="a refiner is"):
        as_refiner([3])


def test_large_seeds_are_refined_on_a_smaller_copy():
    seen = {}

    def look(image, p):
        seen["size"] = tuple(p.shape[1:])
        assert image.dtype == torch.uint8
        assert tuple(image.shape[:2]) == seen["size"]
        return p

    picture = torch.zeros(40, 80, 3, dtype=torch.uint8)
    values = torch.full((2, 40, 80), 0.5)
    assert refined(look, picture, values, 20).shape == (2, 40, 80)
    assert seen["size"] == (10, 20)
    assert torch.equal(refined(look, picture, values, 80), values)
    assert seen["size"] == (40, 80)
