"""precision="bf16" gives the map of fp32 but for rounding."""

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from scipy.stats import spearmanr
from torch import nn

from hedgeseg import attribute
from hedgeseg.attribution.precision import has_bf16
from hedgeseg.visual import IMAGENET_MEAN, IMAGENET_STD


def test_ranks_of_real_photographs_stay(shared):
    model = torchvision.models.squeezenet1_0(weights=None)
    model.load_state_dict(torch.load(shared / "data" / "weights" / "squeezenet1_0.pth"))
    model.eval()
    photographs = sorted((shared / "data" / "imagenet_sample").rglob("*.jp*g"))[:4]
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB").resize((227, 227))) for path in photographs])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    images = (images - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
    with torch.no_grad():
        targets = model(images).argmax(1)
    exact = attribute(model, images, targets).maps[:, 0]
    fast = attribute(model, images, targets, precision="bf16").maps[:, 0]
    assert fast.dtype == torch.float32
    assert torch.equal(fast, exact) != has_bf16(images.device)  # without the instructions it is float32
    for a, b in zip(fast, exact, strict=True):
        assert spearmanr(a.flatten(), b.flatten()).statistic > 0.9999


@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_an_image_does_not_depend_on_its_batch(gamma):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    ).eval()  # fmt: skip
    images = torch.randn(3, 3, 16, 16)
    together = attribute(model, images, [0, 1, 2], gamma=gamma, precision="bf16").maps
    alone = [attribute(model, images[i : i + 1], [i], gamma=gamma, precision="bf16").maps for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-2, atol=1e-4)
