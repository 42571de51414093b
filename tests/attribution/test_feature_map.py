"""Networks that keep the channels last are explained as their twins that keep them first."""

import pytest
import torch
from torch import nn

from hedgeseg import attribute


class First(nn.Module):
    """Convolution, normalised channels, average, classifier."""

    def __init__(self, norm_after_pool):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.body = nn.Conv2d(8, 16, 3, padding=1)
        self.norm = nn.LayerNorm(16)
        self.last = norm_after_pool
        self.fc = nn.Linear(16, 5)

    def map(self, images):
        return self.body(self.stem(images).relu()).relu()

    def forward(self, images):
        pooled = self.map(images).mean((2, 3))
        return self.fc(self.norm(pooled) if self.last else pooled)


class Identity(nn.Module):
    def forward(self, x):
        return x


class Last(First):
    """The same function, with the map handed on as (N, H, W, C)."""

    def __init__(self, norm_after_pool, moves_back):
        super().__init__(norm_after_pool)
        self.stage, self.moves_back = Identity(), moves_back

    def forward(self, images):
        found = self.stage(self.map(images).permute(0, 2, 3, 1).contiguous())
        pooled = found.permute(0, 3, 1, 2).mean((2, 3)) if self.moves_back else found.mean((1, 2))
        return self.fc(self.norm(pooled) if self.last else pooled)


@pytest.mark.parametrize("method", ["hedge", "grad_cam", "grad_cam_plus_plus", "rsp", "relevance_cam", "score_cam",
                                    "excitation_backprop", "contrastive_excitation_backprop"])  # fmt: skip
@pytest.mark.parametrize("moves_back", [False, True])
def test_channels_may_be_last(method, moves_back):
    images = torch.randn(2, 3, 20, 28, generator=torch.Generator().manual_seed(1)).double()
    first, last = First(False).double().eval(), Last(False, moves_back).double().eval()
    targets = [[0, 3], [1, 2]]
    expected = attribute(first, images, targets, method=method)
    got = attribute(last, images, targets, method=method, layer="stage")
    torch.testing.assert_close(got.maps, expected.maps)


def test_a_map_behind_a_layer_norm_does_not_depend_on_the_batch():
    images = torch.randn(2, 3, 20, 28, generator=torch.Generator().manual_seed(1))
    model = Last(True, moves_back=False).eval()
    together = attribute(model, images, [0, 1]).maps
    alone = torch.cat([attribute(model, images[i : i + 1], [i]).maps for i in range(2)])
    assert together.abs().sum() > 0
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-7)
