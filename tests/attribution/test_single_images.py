"""Networks that take the images out of their batch and treat them one by one."""

import pytest
import torch
from torch import nn

from hedgeseg import attribute
from hedgeseg.attribution.errors import LayerError

WAYS = {
    "unbind": lambda conv, x: torch.stack(list(conv(x).relu().unbind(0))),
    "select": lambda conv, x: torch.cat([y.unsqueeze(0) for y in conv(x).relu()]),
    "without_batch": lambda conv, x: torch.stack([conv(image).relu() for image in x]),
    "batches_of_one": lambda conv, x: torch.stack([conv(image[None]).relu()[0] for image in x]),
    "reshaped": lambda conv, x: torch.cat([y.reshape(1, 4, 6, 6) for y in conv(x).relu().unbind(0)]),
}


class OneByOne(nn.Module):
    def __init__(self, way):
        super().__init__()
        self.way, self.conv, self.head = way, nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.way(self.conv, x).mean((2, 3)))


@pytest.mark.parametrize("method", ["grad_cam", "hedge", "relevance_cam", "lrp_epsilon"])
@pytest.mark.parametrize("way", WAYS)
def test_maps_are_those_of_the_network_that_keeps_its_batch(way, method):
    torch.manual_seed(0)
    model, images = OneByOne(WAYS[way]).eval().double(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    whole = nn.Sequential(model.conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.head)
    expected = attribute(whole, images, [0, 2], method=method).maps
    for i in range(2):
        alone = attribute(model, images[i : i + 1], [[0, 2][i]], method=method).maps[0]
        torch.testing.assert_close(alone, expected[i], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(attribute(model, images, [0, 2], method=method).maps, expected, rtol=1e-9, atol=1e-12)


def test_a_map_outside_the_batch_is_refused_as_a_layer():
    model = OneByOne(WAYS["without_batch"]).eval()
    with pytest.raises(LayerError, match="Name a layer"):
        attribute(model, torch.randn(1, 3, 6, 6), [0], layer="conv")
