"""RISE: its masks, and what it finds."""

import pytest
import torch
from torch import Tensor, nn

from hedgeseg import attribute
from hedgeseg.attribution.methods.rise import random_masks


@pytest.mark.parametrize("space", [(20,), (21, 33), (5, 9, 8), (3, 3)])
def test_masks_do_not_depend_on_how_they_are_drawn(space: tuple[int, ...]) -> None:
    together = torch.cat(list(random_masks(10, torch.Size(space), 4, 0.5, 0, rows=10)))
    in_parts = torch.cat(list(random_masks(10, torch.Size(space), 4, 0.5, 0, rows=3)))
    assert together.shape == (10, *space)
    assert torch.equal(together, in_parts)
    assert 0 <= float(together.min()) < float(together.max()) <= 1 + 1e-6


def test_masks_keep_the_share_they_are_asked_for() -> None:
    masks = torch.cat(list(random_masks(400, torch.Size([28, 28]), 7, 0.3, 0, rows=100)))
    assert abs(float(masks.mean()) - 0.3) < 0.02
    assert float(masks.mean(0).std()) < 0.05


class Corner(nn.Module):
    """Class 1 looks at the upper left corner, class 0 at nothing."""

    def forward(self, images: Tensor) -> Tensor:
        seen = 20 * images[:, :, :8, :8].mean((1, 2, 3)) - 10
        return torch.stack([torch.zeros_like(seen), seen], 1)


@pytest.mark.parametrize("score", ["softmax", "sigmoid", "logit"])
def test_it_finds_what_the_class_looks_at(score: str) -> None:
    maps = attribute(Corner(), torch.ones(1, 3, 28, 28), [1], method="rise", masks=300, score=score).maps[0, 0]
    row, column = divmod(int(maps.argmax()), 28)
    assert row < 10
    assert column < 10
    assert float(maps[:8, :8].mean()) > float(maps[14:, 14:].mean()) + 0.1


def test_the_scale_is_the_expected_score() -> None:
    class Constant(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.zeros(len(images), 4) + 0 * images.mean()

    maps = attribute(Constant(), torch.ones(1, 3, 28, 28), [1], method="rise", masks=500).maps
    torch.testing.assert_close(maps, torch.full_like(maps, 0.25), rtol=0, atol=0.04)
