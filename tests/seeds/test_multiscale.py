import pytest
import torch

from hedgeseg.seeds.multiscale import merge, resize, scaled_size, unflip, views


@pytest.mark.parametrize("scale", [0.3, 0.5, 1.0, 1.5, 2.0])
def test_scaled_sides_keep_their_parity(scale):
    height, width = scaled_size((224, 225), scale)
    assert height % 2 == 0
    assert width % 2 == 1
    assert abs(height - 224 * scale) <= 1
    assert abs(width - 225 * scale) <= 1


def test_scale_one_is_the_image_itself():
    image = torch.rand(3, 5, 7)
    (only,) = views(image, (1.0,), flip=False)
    assert torch.equal(only[0], image)


def test_flip_adds_the_mirror_and_unflip_undoes_it():
    image = torch.rand(3, 6, 8)
    small, large = views(image, (0.5, 1.0), flip=True)
    assert small.shape == (2, 3, 4, 4) or small.shape == (2, 3, 2, 4)
    upright = unflip(large)
    assert torch.equal(upright[0], upright[1])


def test_merge():
    maps = [torch.ones(2, 1, 2, 2), 4 * torch.ones(1, 1, 2, 2)]
    assert merge(maps, "sum").unique().item() == 6
    assert merge(maps, "max").unique().item() == 4
    assert merge(maps, "mean").unique().item() == 2
    with pytest.raises(ValueError, match="median"):
        merge(maps, "median")


def test_resize_keeps_leading_dimensions():
    assert resize(torch.rand(2, 3, 4, 5), (8, 10)).shape == (2, 3, 8, 10)
