import pytest
import torch

from hedgeseg.models import SmallCNN


@pytest.mark.parametrize("size", [(32, 32), (128, 128), (97, 150)])
def test_any_input_from_32_pixels(size):
    assert SmallCNN(5)(torch.randn(2, 3, *size)).shape == (2, 5)


def test_small_and_an_image_does_not_depend_on_its_batch():
    network = SmallCNN(6).eval()
    assert sum(parameter.numel() for parameter in network.parameters()) < 5e5
    images = torch.randn(3, 3, 64, 64)
    assert torch.allclose(network(images)[1:2], network(images[1:2]), atol=1e-6)
    assert network.features(images).shape[2:] == (4, 4)
