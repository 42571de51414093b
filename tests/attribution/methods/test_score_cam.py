"""Score-CAM equals its published definition and pytorch-grad-cam."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hedgeseg import attribute


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)
    ).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 10, 12, generator=torch.Generator().manual_seed(1))


def test_equals_its_definition(images: Tensor) -> None:
    model = network()
    maps = attribute(model, images, [[2, 0], [1, 3]], method="score_cam", layer="1").maps
    with torch.no_grad():
        for i, targets in enumerate([[2, 0], [1, 3]]):
            features = model[1](model[0](images[i : i + 1]))[0]
            scaled = torch.stack([(a - a.min()) / (a.max() - a.min()) for a in features])
            scores = torch.cat([model(images[i : i + 1] * mask) for mask in scaled])
            for t, target in enumerate(targets):
                expected = (scores[:, target].softmax(0).view(-1, 1, 1) * features).sum(0).relu()
                torch.testing.assert_close(maps[i, t], expected, rtol=1e-5, atol=1e-6)


def test_equals_pytorch_grad_cam(images: Tensor) -> None:
    cam = pytest.importorskip("pytorch_grad_cam")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    model = network()
    maps = attribute(model, images, [2, 1], method="score_cam", layer="1").maps[:, 0].numpy()
    with cam.ScoreCAM(model, [model[1]]) as oracle:
        expected = oracle(images, [targets.ClassifierOutputTarget(t) for t in (2, 1)])
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    np.testing.assert_allclose((maps - low) / (high - low), expected, atol=1e-4)
