import pytest
import torch
from torch import nn

from hedgeseg.audit.measures import GRID
from hedgeseg.audit.view import DIMENSIONS, stages_of, view


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 40, 3, 2, 1), nn.BatchNorm2d(40), nn.ReLU()),
        nn.Sequential(nn.Conv2d(40, 12, 3, 2, 1), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 2),
    )


def test_all_stages_but_the_last_are_seen(network):
    stages = stages_of(network, torch.zeros(3, 64, 96))
    assert [(stage.stride, stage.channels) for stage in stages] == [(2, 8), (4, 40)]


def test_a_place_sees_what_is_there_and_the_network_is_left_as_it_was(network):
    image = torch.zeros(3, 140, 140)
    image[:, 90:110, 20:40] = 5.0
    network.train()
    stages = stages_of(network, image)
    seen = view(network, image, stages)
    assert seen.shape == (GRID, GRID, 6 + 8 + DIMENSIONS)
    assert network.training
    assert divmod(int(seen[..., 0].argmax()), GRID) in [(9, 2), (9, 3), (10, 2), (10, 3)]
    assert seen[9, 2, 0] > 3.5
    torch.testing.assert_close(seen[1, 11], seen[1, 12])


def test_the_same_image_is_seen_alike_again(network):
    image = torch.rand(3, 70, 90)
    stages = stages_of(network, image)
    assert torch.equal(view(network, image, stages), view(network, image, stages))


def test_a_network_without_maps_leaves_the_colours():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    image = torch.rand(3, 32, 32)
    stages = stages_of(network, image)
    assert view(network, image, stages).shape == (GRID, GRID, 6)
