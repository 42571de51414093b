"""Extremal perturbation: its parts against their equations, and what it finds."""

import math

import pytest
import torch
from torch import Tensor, nn

from hedgeseg import attribute
from hedgeseg.attribution.methods.extremal_perturbation import (
    best_masks,
    blur_levels,
    blurred,
    ideal_order,
    perturb,
    smooth_masks,
)


def test_the_ideal_order_has_the_area() -> None:
    ideal = ideal_order([0.1, 0.25], 200, torch.zeros(1))
    assert ideal.sum(1).tolist() == [20, 50]
    assert (ideal.diff(dim=1) >= 0).all()


def test_smooth_masks_equal_the_equation() -> None:
    bumps, step = torch.rand(1, 3, 4, generator=torch.Generator().manual_seed(0)), 3
    masks = smooth_masks(bumps, step, torch.Size([8, 12]))
    wide = torch.nn.functional.pad(bumps[None], [4] * 4, mode="replicate")[0, 0]
    for u in [(0, 0), (4, 7), (7, 11)]:
        top = bottom = 0.0
        for i in range(-4, 7):
            for j in range(-4, 8):
                if abs(i - u[0] // step) > 4 or abs(j - u[1] // step) > 4:
                    continue
                centre = (i + 0.5) * step - 0.5, (j + 0.5) * step - 0.5
                z = math.dist(u, centre) / step
                f = math.exp(-(max(0.0, z - 1) ** 2) / 4) * float(wide[i + 4, j + 4])
                top, bottom = top + f * math.exp(f * 20), bottom + math.exp(f * 20)
        assert float(masks[0][u]) == pytest.approx(top / bottom, rel=1e-4)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_masks_in_any_number_of_dimensions(dims: int) -> None:
    masks = smooth_masks(torch.ones(2, *[3] * dims), 2, torch.Size([5] * dims))
    assert masks.shape == (2, *[5] * dims)
    assert float(masks.min()) > 0.8
    assert float(masks.max()) <= 1


def test_a_mask_chooses_the_blur() -> None:
    image = torch.randn(1, 3, 56, 64)
    levels = blur_levels(image)
    spread = levels.flatten(1).std(1)
    assert (spread.diff() < 0).all()
    ones, zeros = torch.ones(1, 56, 64), torch.zeros(1, 56, 64)
    torch.testing.assert_close(perturb(levels, ones), image)
    torch.testing.assert_close(perturb(levels, zeros), levels[-1:])
    torch.testing.assert_close(perturb(levels, 1 - ones / 14)[0], (levels[0] + levels[1]) / 2)


def test_blur_keeps_a_constant_and_has_its_deviation() -> None:
    torch.testing.assert_close(blurred(torch.full((1, 1, 9, 7), 3.0), 2.0), torch.full((1, 1, 9, 7), 3.0))
    point = torch.zeros(1, 1, 41, 41)
    point[..., 20, 20] = 1
    spot = blurred(point, 3.0)[0, 0]
    variance = float((spot.sum(0) * (torch.arange(41) - 20.0) ** 2).sum())
    assert variance == pytest.approx(9, rel=0.05)
    assert blurred(point, 0) is point


class Textured(nn.Module):
    """Class t scores the fine texture in quadrant t."""

    def forward(self, images: Tensor) -> Tensor:
        fine = (images[..., 1:] - images[..., :-1]).abs().mean(1)
        size = images.shape[-1] // 2
        quadrants = [fine[:, :size, :size], fine[:, :size, size:], fine[:, size:, :size], fine[:, size:, size:]]
        return torch.stack([20 * q.mean((1, 2)) for q in quadrants], 1)


def test_it_finds_what_the_class_looks_at() -> None:
    image = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    found = attribute(Textured(), image, [[0, 3]], method="extremal_perturbation", iterations=80, areas=(0.2,)).maps[0]
    size = 16
    assert float(found[0, :size, :size].mean()) > 2 * float(found[0, size:, size:].mean())
    assert float(found[1, size:, size:].mean()) > 2 * float(found[1, :size, :size].mean())
    assert 0 <= float(found.min()) <= float(found.max()) <= 1


def test_the_area_is_met() -> None:
    image = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    masks = best_masks(Textured(), image, 0, [0.1, 0.3], iterations=100)
    assert float(masks[0].mean()) == pytest.approx(0.1, abs=0.05)
    assert float(masks[1].mean()) == pytest.approx(0.3, abs=0.07)
