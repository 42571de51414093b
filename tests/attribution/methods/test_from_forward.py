"""What every method that sees a model from outside promises, whichever it is."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from hedgeseg import METHODS, attribute
from hedgeseg.attribution.errors import LayerError, OutputError, TargetError

CHEAP: dict[str, dict[str, Any]] = {
    "score_cam": {},
    "integrated_gradients": {"n_steps": 3},
    "smooth_grad": {"nt_samples": 2},
    "deep_lift": {},
    "gradient_shap": {"n_samples": 2},
    "lime": {"n_samples": 12, "grid": 3},
    "occlusion": {"window": 8},
    "rise": {"masks": 9, "cells": 3},
    "extremal_perturbation": {"iterations": 2, "areas": (0.1, 0.3)},
    "center": {},
    "random": {},
}
METHOD = pytest.mark.parametrize("method", CHEAP)


class Small(nn.Sequential):
    """A network with a reused in-place activation and an overlapping pooling, as residual networks have."""

    def __init__(self) -> None:
        relu = nn.ReLU(inplace=True)
        super().__init__(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            relu,
            nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(6, 8, 3, padding=1),
            relu,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(8, 5),
        )


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return Small()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 16, 20, generator=torch.Generator().manual_seed(1))


def maps_of(model: nn.Module, images: Tensor, targets: Any, method: str, **more: Any) -> Tensor:
    return attribute(model, images, targets, method=method, **CHEAP[method], **more).maps


@METHOD
def test_an_image_does_not_depend_on_its_batch_its_other_targets_or_the_chunk(
    model: nn.Module, images: Tensor, method: str
) -> None:
    targets = torch.tensor([[0, 1], [2, 3], [4, 0]])
    together = maps_of(model, images, targets, method)
    assert together.shape == (3, 2, 16, 20)
    assert together.dtype == torch.float32
    assert torch.isfinite(together).all()
    alone = torch.cat([maps_of(model, images[i : i + 1], targets[i : i + 1], method) for i in range(3)])
    by_target = torch.cat([maps_of(model, images, targets[:, t], method) for t in range(2)], 1)
    bounded = maps_of(model, images, targets, method, chunk=1)
    for other in (alone, by_target, bounded):
        torch.testing.assert_close(other, together, rtol=1e-4, atol=1e-5)


@METHOD
def test_the_model_and_the_random_streams_are_left_as_they_were(model: nn.Module, images: Tensor, method: str) -> None:
    model.train()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before, grad = deepcopy(model.state_dict()), model[0].weight.grad
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}
    streams = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    pixels = images.clone()
    attribute(model, images, [0, 1, 2], method=method, **CHEAP[method])
    assert all(module.training for module in model.modules())
    assert model[0].weight.grad is grad
    assert torch.equal(grad, torch.ones_like(grad))
    assert all(p.grad is None for name, p in model.named_parameters() if name != "0.weight")
    assert all(torch.equal(model.state_dict()[k], v) for k, v in before.items())
    assert {name: set(vars(module)) for name, module in model.named_modules()} == attributes
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
    assert torch.equal(torch.get_rng_state(), streams[0])
    assert np.array_equal(np.random.get_state()[1], streams[1])  # noqa: NPY002
    assert torch.equal(images, pixels)
    assert not images.requires_grad


@METHOD
def test_the_result_does_not_depend_on_where_it_is_called_from(model: nn.Module, images: Tensor, method: str) -> None:
    expected = maps_of(model, images, [0, 1, 2], method)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with torch.inference_mode():
        inside = maps_of(model, images.clone(), [0, 1, 2], method)
    torch.testing.assert_close(inside, expected)


@METHOD
def test_a_model_that_was_loaded_in_inference_mode_can_be_explained(images: Tensor, method: str) -> None:
    def make() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))

    with torch.inference_mode():
        model = make()
    expected = maps_of(make(), images, [0, 1, 2], method)
    torch.testing.assert_close(maps_of(model, images, [0, 1, 2], method), expected)


class Several(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        y = self.inner(images)
        return {"main": y, "other": y.flip(1)}


@METHOD
def test_several_outputs(model: nn.Module, images: Tensor, method: str) -> None:
    expected = maps_of(model, images, [0, 1, 2], method)
    torch.testing.assert_close(maps_of(Several(model), images, [0, 1, 2], method, output="main"), expected)
    with pytest.raises(OutputError, match="output="):
        maps_of(Several(model), images, [0, 1, 2], method)


@METHOD
def test_targets_and_layers_are_checked(model: nn.Module, images: Tensor, method: str) -> None:
    with pytest.raises(TargetError, match=r"target 7 .* classes 0 to 4"):
        maps_of(model, images, [0, 7, 1], method)
    with pytest.raises((ValueError, LayerError), match="layer="):
        maps_of(model, images, [0, 1, 1], method, layer="0" if method != "score_cam" else "nowhere")


@METHOD
def test_ragged_targets(model: nn.Module, images: Tensor, method: str) -> None:
    maps = maps_of(model, images, [[0], [], [1, 2]], method)
    assert torch.isnan(maps[1]).all()
    assert torch.isnan(maps[0, 1]).all()
    torch.testing.assert_close(maps[0, :1], maps_of(model, images[:1], [0], method)[0], rtol=1e-4, atol=1e-5)


@METHOD
@pytest.mark.parametrize("dims", [1, 3])
def test_signals_and_volumes(method: str, dims: int) -> None:
    torch.manual_seed(0)
    conv, pool, mean = {
        1: (nn.Conv1d, nn.MaxPool1d, nn.AdaptiveAvgPool1d),
        3: (nn.Conv3d, nn.MaxPool3d, nn.AdaptiveAvgPool3d),
    }[dims]
    model = nn.Sequential(
        conv(2, 4, 3, padding=1), nn.ReLU(), pool(3, 2, 1), conv(4, 4, 3, padding=1), nn.SiLU(), mean(1), nn.Flatten()
    )
    images = torch.randn(2, 2, *[9] * dims)
    options = CHEAP[method] | ({"window": 3} if method == "occlusion" else {})
    maps = attribute(model, images, [[0, 1], [2, 3]], method=method, layer=None, **options).maps
    assert maps.shape == (2, 2, *[9] * dims)
    assert torch.isfinite(maps).all()


@METHOD
def test_half_and_double_precision(model: nn.Module, images: Tensor, method: str) -> None:
    expected = maps_of(model, images, [0, 1, 2], method)
    double = maps_of(deepcopy(model).double(), images.double(), [0, 1, 2], method)
    assert double.dtype == torch.float64
    if method != "random":  # the image's bytes are others
        torch.testing.assert_close(double.float(), expected, rtol=1e-3, atol=1e-3)
    half = maps_of(deepcopy(model).bfloat16(), images.bfloat16(), [0, 1, 2], method)
    assert half.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        mixed = maps_of(model, images, [0, 1, 2], method)
    assert mixed.dtype == torch.float32


@METHOD
def test_resnet18(method: str) -> None:
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=6)
    layer = "layer1" if method == "score_cam" else None
    options = CHEAP[method] | ({"window": 32} if method == "occlusion" else {})
    maps = attribute(model, torch.randn(1, 3, 64, 64), [[0, 5]], method=method, layer=layer, **options).maps
    assert maps.shape == (1, 2, 64, 64)
    assert METHODS[method].signed or float(maps.min()) >= 0
    if method != "center":
        assert not torch.equal(maps[0, 0], maps[0, 1])


@pytest.mark.parametrize("method", ["smooth_grad", "gradient_shap", "lime", "rise", "random"])
def test_noise_follows_the_seed(model: nn.Module, images: Tensor, method: str) -> None:
    first, again, other = (maps_of(model, images, [0, 1, 2], method, seed=s) for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@METHOD
def test_options_are_checked(model: nn.Module, images: Tensor, method: str) -> None:
    with pytest.raises(ValueError, match="has no option 'speed'"):
        attribute(model, images, [0, 1, 2], method=method, speed=1)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("integrated_gradients", {"n_steps": 0}, "n_steps=0"),
        ("smooth_grad", {"noise": -1.0}, r"noise=-1\.0"),
        ("smooth_grad", {"seed": -1}, "seed=-1"),
        ("gradient_shap", {"n_samples": "many"}, "n_samples='many'"),
        ("lime", {"grid": 0}, "grid=0"),
        ("occlusion", {"window": 99}, "window=99"),
        ("occlusion", {"window": 4, "stride": 5}, "stride=5"),
        ("rise", {"keep": 1.5}, r"keep=1\.5"),
        ("rise", {"score": "odds"}, "score='odds'"),
        ("extremal_perturbation", {"areas": (0.0,)}, "areas="),
        ("extremal_perturbation", {"smooth": 1.0}, "smooth="),
        ("center", {"width": 0}, "width=0"),
    ],
)
def test_wrong_options_are_named(
    model: nn.Module, images: Tensor, method: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        attribute(model, images, [0, 1, 2], method=method, **options)
