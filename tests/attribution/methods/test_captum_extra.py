"""captum's methods equal captum, called directly on networks that it handles."""

import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hedgeseg import attribute
from hedgeseg.attribution.methods.lime import Ridge, grid_cells

attr = pytest.importorskip("captum.attr")

TARGETS = [1, 3]


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=1),
        nn.Sigmoid(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 5),
    ).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 12, 16, generator=torch.Generator().manual_seed(1))


def check(model: nn.Module, images: Tensor, method: str, expected: list[Tensor], **options: Any) -> None:
    found = attribute(model, images, TARGETS, method=method, **options)
    torch.testing.assert_close(found.maps[:, 0], torch.stack(expected), rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(found.logits, model(images))


def one_by_one(images: Tensor) -> Any:
    return zip(images.split(1), TARGETS, strict=True)


def test_integrated_gradients(model: nn.Module, images: Tensor) -> None:
    oracle = attr.IntegratedGradients(model)
    expected = [oracle.attribute(x, target=t, n_steps=7, baselines=0.5)[0].sum(0) for x, t in one_by_one(images)]
    check(model, images, "integrated_gradients", expected, n_steps=7, baselines=0.5)


def test_integrated_gradients_sum_to_the_difference_of_logits(model: nn.Module, images: Tensor) -> None:
    maps = attribute(model, images, TARGETS, method="integrated_gradients", n_steps=60).maps[:, 0]
    with torch.no_grad():
        rise = (model(images) - model(torch.zeros_like(images)))[range(2), TARGETS]
    torch.testing.assert_close(maps.sum((1, 2)), rise, rtol=0, atol=2e-3)


def test_smooth_grad(model: nn.Module, images: Tensor) -> None:
    expected = []
    for x, t in one_by_one(images):
        torch.manual_seed(5)
        tunnel = attr.NoiseTunnel(attr.Saliency(model))
        deviation = 0.2 * float(x.max() - x.min())
        options = {"nt_samples": 4, "nt_samples_batch_size": 1, "stdevs": deviation}
        expected.append(tunnel.attribute(x.clone().requires_grad_(), target=t, abs=False, **options)[0].sum(0))
    check(model, images, "smooth_grad", expected, nt_samples=4, noise=0.2, seed=5)


def test_gradient_shap(model: nn.Module, images: Tensor) -> None:
    expected = []
    for x, t in one_by_one(images):
        torch.manual_seed(5)
        np.random.seed(5)  # noqa: NPY002
        oracle, deviation = attr.GradientShap(model), 0.1 * float(x.max() - x.min())
        draws = [oracle.attribute(x, torch.zeros_like(x), n_samples=1, stdevs=deviation, target=t) for _ in range(4)]
        expected.append(torch.cat(draws).mean(0).sum(0))
    check(model, images, "gradient_shap", expected, n_samples=4, seed=5)


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks", "ignore:Input Tensor")
def test_deep_lift(model: nn.Module, images: Tensor) -> None:
    oracle = attr.DeepLift(model)
    expected = [oracle.attribute(x, baselines=0.25, target=t)[0].sum(0).detach() for x, t in one_by_one(images)]
    check(model, images, "deep_lift", expected, baselines=0.25)


def test_occlusion(model: nn.Module, images: Tensor) -> None:
    oracle = attr.Occlusion(model)
    options = {"sliding_window_shapes": (3, 5, 5), "strides": (3, 2, 2), "baselines": 0.5}
    expected = [oracle.attribute(x, target=t, **options)[0, 0] for x, t in one_by_one(images)]
    check(model, images, "occlusion", expected, window=5, stride=2, baselines=0.5)


def test_lime_finds_the_coefficients_of_a_linear_model() -> None:
    weights = torch.arange(16.0).view(4, 4) - 5

    class Linear(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            cells = nn.functional.avg_pool2d(images[:, 0], 3)
            return torch.stack([(cells * weights).sum((1, 2)), cells.mean((1, 2))], 1)

    maps = attribute(Linear(), torch.ones(1, 1, 12, 12), [0], method="lime", grid=4, n_samples=200, ridge=1e-6).maps
    torch.testing.assert_close(maps[0, 0], weights.repeat_interleave(3, 0).repeat_interleave(3, 1), rtol=0, atol=1e-3)


def test_ridge_equals_least_squares_with_a_row_per_penalty() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y, w = (torch.rand(shape, generator=generator) for shape in ((30, 4), (30,), (30,)))
    ridge = Ridge(0.7)
    ridge.fit([(x[:20], y[:20], w[:20]), (x[20:], y[20:], w[20:])])
    rows = torch.cat([torch.cat([x, torch.ones(30, 1)], 1) * w.sqrt()[:, None], 0.7**0.5 * torch.eye(5)[:4]])
    oracle = torch.linalg.lstsq(rows, torch.cat([y * w.sqrt(), torch.zeros(4)])[:, None]).solution[:4, 0]
    torch.testing.assert_close(ridge.representation(), oracle, rtol=1e-4, atol=1e-6)


def test_grid_cells_have_no_gaps() -> None:
    cells = grid_cells(torch.Size([7, 3]), 5, torch.device("cpu"))
    assert cells.unique().tolist() == list(range(15))
    assert cells[0, 0] == 0
    assert cells[-1, -1] == 14


@pytest.mark.parametrize(
    "method", ["integrated_gradients", "smooth_grad", "deep_lift", "gradient_shap", "lime", "occlusion"]
)
def test_a_missing_extra_says_what_to_install(
    model: nn.Module, images: Tensor, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ImportError, match=rf'{method}.*pip install "hedgeseg\[captum\]"'):
        attribute(model, images, TARGETS, method=method)
    attribute(model, images, TARGETS, method="grad_cam")


def test_hooks_are_removed_after_an_error(images: Tensor) -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu, self.calls = nn.Conv2d(3, 4, 3), nn.ReLU(), 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            if self.calls > 2:
                raise RuntimeError("out of luck")
            return self.relu(self.conv(x)).mean((2, 3))

    for method in ("deep_lift", "integrated_gradients", "occlusion"):
        model = Fails().train()
        model.calls = 1
        with pytest.raises(RuntimeError, match="out of luck"):
            attribute(model, images, TARGETS, method=method)
        assert model.training
        assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
