"""Coarse maps of flips, crops and patches return to the pixels that were looked at."""

import pytest
import torch
from stacked_networks import Stacked
from torch import nn

from hedgeseg import attribute
from hedgeseg.attribution.errors import UnsupportedOpError

CAMS = ("grad_cam", "grad_cam_plus_plus", "relevance_cam", "excitation_backprop", "contrastive_excitation_backprop")


class Through(nn.Module):
    """Averaged logits of one small network for several views of the image."""

    def __init__(self, *views, behind=lambda y: y):
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1))
        self.fc, self.views, self.behind = nn.Linear(4, 5, bias=False), views, behind

    def forward(self, x):
        logits = [self.fc(self.behind(self.trunk(view(x)).relu()).mean((2, 3))) for view in self.views]
        return torch.stack(logits).mean(0)


def plain(x):
    return x


def mirrored(x):
    return x.flip(3)


@pytest.fixture
def images():
    return torch.randn(2, 3, 12, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def maps(net, images, method, **options):
    return attribute(net.double().eval(), images, [[0, 1], [3, 2]], method=method, **options).maps


@pytest.mark.parametrize("method", [*CAMS, "score_cam", "full_grad"])
def test_a_mirrored_image_has_a_mirrored_map(method, images):
    expected = maps(Through(plain), images.flip(3), method).flip(3)
    torch.testing.assert_close(maps(Through(mirrored), images, method), expected)


def test_stages_of_a_mirrored_image(images):
    expected = maps(Through(plain), images.flip(3), "hedge", stages=[2]).flip(3)
    torch.testing.assert_close(maps(Through(mirrored), images, "hedge", stages=[2]), expected)


@pytest.mark.parametrize("method", CAMS)
def test_a_turned_and_shifted_image(method, images):
    turned = maps(Through(lambda x: x.rot90(1, (2, 3))), images, method)
    torch.testing.assert_close(turned, maps(Through(plain), images.rot90(1, (2, 3)), method).rot90(-1, (2, 3)))
    rolled = maps(Through(lambda x: x.roll((3, 2), (2, 3))), images, method)
    torch.testing.assert_close(rolled, maps(Through(plain), images.roll((3, 2), (2, 3)), method).roll((-3, -2), (2, 3)))


@pytest.mark.parametrize("method", CAMS)
def test_a_crop_has_its_map_where_it_was_cut(method, images):
    got = maps(Through(lambda x: x[:, :, 2:10, 4:14]), images, method)
    expected = torch.zeros_like(got)
    expected[:, :, 2:10, 4:14] = maps(Through(plain), images[:, :, 2:10, 4:14], method)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("method", CAMS)
def test_an_enlarged_crop_keeps_its_values(method, images):
    large = {"size": (16, 20), "mode": "bilinear", "align_corners": False}
    cut = images[:, :, 2:10, 4:14]
    got = maps(Through(lambda x: nn.functional.interpolate(x[:, :, 2:10, 4:14], **large)), images, method)
    inside = maps(Through(plain), nn.functional.interpolate(cut, **large), method)
    inside = nn.functional.interpolate(inside, size=(8, 10), mode="bilinear", align_corners=False)
    assert got[:, :, :2].abs().sum() == got[:, :, :, 14:].abs().sum() == 0
    torch.testing.assert_close(got[:, :, 2:10, 4:14], inside)


def test_views_add_up(images):
    both = maps(Through(plain, mirrored), images, "grad_cam")
    one, other = (maps(Through(view), images, "grad_cam") for view in (plain, mirrored))
    torch.testing.assert_close(both, (one + other) / 2)


@pytest.mark.parametrize("method", CAMS)
def test_stacked_copies_are_as_good_as_calls(method, images):
    torch.manual_seed(0)
    stacked, calls = Stacked("siamese"), Stacked("siamese_calls")
    calls.load_state_dict(stacked.state_dict())
    options = {"relu": False} if method.startswith("contrastive") else {}
    torch.testing.assert_close(maps(stacked, images, method, **options), maps(calls, images, method, **options))


@pytest.mark.parametrize("method", ["grad_cam", "relevance_cam", "score_cam"])
def test_features_that_are_mirrored_behind_their_layers(method, images):
    mirrored_late = maps(Through(plain, behind=lambda y: y.flip(3)), images, method)
    torch.testing.assert_close(mirrored_late, maps(Through(plain), images, method))


def test_maps_of_several_views_added_up_before_the_pooling(images):
    class Added(Through):
        def forward(self, x):
            return self.fc((self.trunk(x) + self.trunk(x.flip(3)).flip(3)).mean((2, 3)))

    torch.testing.assert_close(maps(Added(), images, "grad_cam").flip(3), maps(Added(), images.flip(3), "grad_cam"))


def test_what_cant_be_followed_is_refused_by_name(images):
    class Largest(Through):
        def forward(self, x):
            return self.fc(torch.maximum(self.trunk(x), self.trunk(x.flip(3)).flip(3)).mean((2, 3)))

    with pytest.raises(UnsupportedOpError, match=r"grad_cam.*aten\.maximum.*copies of the image"):
        maps(Largest(), images, "grad_cam")


def test_channels_that_are_put_together_do_not_move_positions(images):
    def with_coordinates(x):
        rows = torch.linspace(-1, 1, x.shape[2], dtype=x.dtype)[:, None].expand(len(x), 1, *x.shape[2:])
        return torch.cat([x[:, :1] * 2, x[:, 1:2], x[:, 2:]], 1) + 0 * rows

    net, twin = Through(with_coordinates), Through(lambda x: x * torch.tensor([2.0, 1, 1]).view(3, 1, 1))
    torch.testing.assert_close(maps(net, images, "grad_cam"), maps(twin, images, "grad_cam"))
