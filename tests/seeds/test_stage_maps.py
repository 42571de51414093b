"""The same stages of a network are read from images of any shape."""

import pytest
import torch
from torch import nn

from hedgeseg.models.architectures import build_network
from hedgeseg.seeds.refit import SEEN, learn_refit
from hedgeseg.seeds.spread import stride_maps
from hedgeseg.seeds.stage_maps import find_stages, stage_maps

SHAPES = [(96, 96), (33, 65), (25, 97), (129, 49), (289, 33), (40, 160)]


@pytest.fixture(scope="module", params=["timm/tf_efficientnet_lite0", "mobilenet_v2", "squeezenet1_0", "resnet18"])
def network(request):
    if request.param.startswith("timm"):
        pytest.importorskip("timm")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_network(request.param, 2, None).eval()


def test_images_of_all_shapes_have_the_same_channels(network):
    expected = [stage.channels for stage in find_stages(network, torch.randn(3, 256, 256), SEEN)]
    for shape in SHAPES:
        image = torch.randn(3, *shape)
        stages = find_stages(network, image, SEEN)
        assert [found.shape[1] for found in stage_maps(network, image, stages)] == expected


def test_where_the_image_is_large_they_are_what_spread_looks_at(network):
    image = torch.randn(3, 160, 224)
    expected = stride_maps(network, image[None], SEEN)
    found = stage_maps(network, image, find_stages(network, image, SEEN))
    assert [one.shape for one in found] == [one.shape for one in expected]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_seeds_of_narrow_and_small_pictures_are_judged_together(network, monkeypatch):
    monkeypatch.setattr("hedgeseg.seeds.places.STEPS", 5)
    monkeypatch.setattr("hedgeseg.seeds.places.BATCH", 100)
    generator = torch.Generator().manual_seed(0)

    def seeds():
        for i, shape in enumerate([(33, 65), (96, 96), (129, 49), (65, 65), (65, 289)]):
            yield torch.randn(3, *shape, generator=generator), torch.rand(1, 12, 12, generator=generator), (i % 2,)

    refit = learn_refit(network, seeds, rounds=2)
    for shape in [(96, 96), (33, 65), (289, 40)]:
        scores = refit(torch.randn(3, *shape), [1])
        assert scores.shape[0] == 1
        assert scores.isfinite().all()
        assert 0 <= scores.min() <= scores.max() <= 1


class OneSize(nn.Module):
    """A network for images of 64 x 64 alone, whose pooling is called twice."""

    def __init__(self):
        super().__init__()
        self.halve = nn.AvgPool2d(8)
        self.twice = nn.AvgPool2d(2)
        self.head = nn.Linear(3 * 2 * 2, 2)

    def forward(self, images):
        if images.shape[-2:] != (64, 64):
            raise AssertionError("images are 64 x 64")
        return self.head(self.twice(self.twice(self.halve(images))).flatten(1))


def test_a_network_for_one_size_is_looked_at_there():
    image = torch.randn(3, 64, 64)
    stages = find_stages(OneSize(), image, SEEN)
    assert [(s.stride, s.module, s.call) for s in stages] == [(8, "halve", 0), (16, "twice", 0), (32, "twice", 1)]
    assert [tuple(m.shape) for m in stage_maps(OneSize(), image, stages)] == [(1, 3, 8, 8), (1, 3, 4, 4), (1, 3, 2, 2)]


def test_a_network_without_stages_is_refused_by_name():
    with pytest.raises(ValueError, match=r"Flatten has no map at a stride of 8 or 16 or 32 .* give refit=False"):
        find_stages(nn.Flatten(), torch.randn(3, 160, 160), SEEN)
