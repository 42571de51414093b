"""Networks that sample their input, or a map, at places of their own: spatial transformers, lens corrections."""

import pytest
import torch
from torch import nn

from hedgeseg import attribute
from hedgeseg.attribution.errors import UnsupportedOpError

TURN = torch.tensor([[[0.0, 1, 0], [-1, 0, 0]]], dtype=torch.float64)


class Turned(nn.Module):
    """Looks at the image by a quarter turned; by an angle that depends on it if `learnt`."""

    def __init__(self, learnt=False):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.angle, self.head, self.learnt = nn.Linear(3, 1), nn.Linear(4, 3), learnt

    def forward(self, x):
        grid = nn.functional.affine_grid(TURN.expand(len(x), 2, 3), x.shape, align_corners=False)
        if self.learnt:
            grid = grid + 0.1 * self.angle(x.mean((2, 3)))[:, None, None]
        return self.head(self.trunk(nn.functional.grid_sample(x, grid, align_corners=False)))


@pytest.fixture
def images():
    torch.manual_seed(0)
    return torch.randn(2, 3, 8, 8, dtype=torch.float64)


@pytest.mark.parametrize("method", ["grad_cam", "hedge", "lrp_epsilon"])
def test_relevance_goes_back_to_where_it_was_sampled(images, method):
    model = Turned().eval().double()
    plain = nn.Sequential(*model.trunk, model.head)
    expected = attribute(plain, torch.rot90(images, -1, (2, 3)), [0, 1], method=method).maps
    found = attribute(model, images, [0, 1], method=method).maps
    torch.testing.assert_close(found, torch.rot90(expected, 1, (2, 3)), rtol=1e-7, atol=1e-10)


def test_places_that_depend_on_the_image_are_constants(images):
    model = Turned(learnt=True).eval().double()
    maps = attribute(model, images, [0, 1], method="hedge").maps
    assert maps.isfinite().all()
    torch.testing.assert_close(maps[1:], attribute(model, images[1:], [1], method="hedge").maps)
    with pytest.raises(UnsupportedOpError, match="sample"):
        attribute(model, images, [0, 1], method="grad_cam")
