import pytest
import torch

from hedgeseg.seeds.smoothing import gaussian_blur, smooth


def test_it_is_a_gaussian():
    ndimage = pytest.importorskip("scipy.ndimage")
    spike = torch.zeros(41, 41)
    spike[20, 20] = 1
    expected = ndimage.gaussian_filter(spike.numpy(), 2.0, truncate=4.0)
    assert torch.allclose(gaussian_blur(spike, 2.0), torch.from_numpy(expected), atol=1e-6)


def test_a_constant_map_stays_constant_up_to_its_border():
    flat = torch.full((2, 3, 9, 11), 0.7)
    assert torch.allclose(gaussian_blur(flat, 5.0), flat, atol=1e-6)


def test_sigma_follows_the_long_side():
    maps = torch.rand(1, 10, 100)
    assert torch.equal(smooth(maps, 0.02), gaussian_blur(maps, 2.0))
    assert torch.equal(smooth(maps, 0.0), maps)


def test_each_map_is_blurred_alone():
    maps = torch.rand(3, 8, 8)
    assert torch.allclose(gaussian_blur(maps, 1.0)[1], gaussian_blur(maps[1], 1.0), atol=1e-7)


def test_sigma_is_checked():
    with pytest.raises(ValueError, match="sigma"):
        gaussian_blur(torch.rand(2, 2), -1.0)


def test_a_wide_blur_of_a_large_map_is_the_same_blur():
    ndimage = pytest.importorskip("scipy.ndimage")
    maps = torch.rand(1, 300, 330, generator=torch.Generator().manual_seed(0))
    maps[0, 100:160, 80:200] += 3
    expected = torch.from_numpy(ndimage.gaussian_filter(maps[0].numpy(), 20.0, mode="reflect"))
    inside = (slice(80, -80), slice(80, -80))
    assert torch.allclose(gaussian_blur(maps, 20.0)[0][inside], expected[inside], atol=0.05)
    assert torch.allclose(gaussian_blur(torch.ones(1, 300, 330), 20.0), torch.ones(1, 300, 330), atol=1e-5)
