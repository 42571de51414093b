"""The generator on the real attribution engine, with a network small enough for a test."""

import pytest
import torch
from torch import nn

from hedgeseg.attribution import attribute
from hedgeseg.seeds import MapSource, SeedGenerator, read_seed, write_seed
from hedgeseg.seeds.tiles import TiledMaps


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 6),
    ).eval()


@pytest.fixture
def image():
    return torch.randn(3, 24, 32, generator=torch.Generator().manual_seed(1))


def test_scores_are_the_smoothed_positive_part_of_the_maps(network, image):
    generator = SeedGenerator(smoothing=0)
    maps = attribute(network, image[None], [[1, 4]], method="hedge", gamma=2.0).maps[0].clamp(min=0)
    expected = maps / maps.amax((1, 2), keepdim=True)
    assert torch.allclose(generator(network, image, [1, 4]).scores, expected, atol=1e-6)


def test_classes_do_not_influence_each_others_scores(network, image):
    generator = SeedGenerator(scales=(1.0, 1.5), flip=True)
    together = generator(network, image, [1, 4]).scores
    alone = torch.cat([generator(network, image, [c]).scores for c in (1, 4)])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("refine", ["crf", "pamr", "guided", ["guided", {"crf": {"preset": "psa"}}]])
def test_refined_seeds_survive_the_disk(tmp_path, network, image, refine):
    generator = SeedGenerator(method=("hedge", "grad_cam"), refine=refine, background="band")
    seed = generator(network, image, [0, 5], size=(30, 40))
    write_seed(tmp_path, "x", seed)
    assert torch.equal(read_seed(tmp_path, "x").mask, seed.mask)
    assert set(seed.mask.unique().tolist()) <= {0, 1, 6, 255}


def test_two_runs_are_equal_bit_for_bit_and_leave_the_model_alone(network, image):
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    generator = SeedGenerator(refine="crf")
    with torch.inference_mode():
        first, second = generator(network, image, [2]), generator(network, image, [2])
    assert torch.equal(first.scores, second.scores)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_tiles_of_a_real_network(network, image):
    seed = SeedGenerator(method=TiledMaps(MapSource("hedge"), tile=16))(network, image, [2, 3])
    assert seed.scores.amax((1, 2)).tolist() == pytest.approx([1.0, 1.0])


def test_what_the_engine_refuses_is_said(network, image):
    with pytest.raises(ValueError, match="hedge"):
        SeedGenerator(method="hegde")(network, image, [1])
    with pytest.raises(ValueError, match="17"):
        SeedGenerator()(network, image, [17])
