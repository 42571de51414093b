"""Relevance of the stages a sweep passes: which map is taken, what it is worth, and that the sweep ends early."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models

from hedgeseg.attribution import attribute, conservation
from hedgeseg.attribution.errors import LayerError


def chain():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(5, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
    ).eval()  # fmt: skip


def peak_one(maps):
    return maps / maps.flatten(2).abs().amax(-1)[..., None, None]


def test_the_pixels_alone_are_the_papers_map_in_another_scale():
    model, images = chain(), torch.randn(2, 3, 16, 20)
    plain = attribute(model, images, [[0, 2], [1]])
    stage = attribute(model, images, [[0, 2], [1]], stages=[1])
    torch.testing.assert_close(stage.maps[0], peak_one(plain.maps)[0])
    torch.testing.assert_close(stage.maps[1, 0], peak_one(plain.maps)[1, 0])


def test_a_stage_is_what_arrives_at_its_end():
    """Stride 4 is the start itself; stride 2 what the third convolution's rule and the pooling make of it."""
    model, images = chain(), torch.randn(1, 3, 16, 20)
    last = model[:8](images)
    start = (last * model[10].weight[1].view(1, -1, 1, 1)).sum(1, keepdim=True)
    wanted = peak_one(F.interpolate(start, size=(16, 20), mode="bilinear", align_corners=False))
    found = attribute(model, images, [1], stages=[4]).maps
    assert torch.corrcoef(torch.stack([found.flatten(), wanted.flatten()]))[0, 1] > 0.9999
    # The sweep ends where it has arrived at the output of the second ReLU.
    report = conservation(model, images, [1], stages=[2])
    assert [entry.op for entry in report] == ["aten.relu", "aten.convolution", "aten.max_pool2d_with_indices"]


def test_several_stages_are_the_mean_of_each():
    model, images = chain(), torch.randn(1, 3, 16, 20)
    alone = [attribute(model, images, [2], stages=[stride]).maps for stride in (4, 2, 1)]
    both = attribute(model, images, [2], stages=[4, 2, 1]).maps
    torch.testing.assert_close(both, torch.stack(alone).mean(0))
    coarse = attribute(model, images, [2], stages="coarse").maps
    torch.testing.assert_close(coarse, torch.stack(alone[:2]).mean(0))
    ends = attribute(model, images, [2], stages="ends").maps
    torch.testing.assert_close(ends, both)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "squeezenet1_0", "convnext_tiny", "googlenet"])
def test_coarse_stages_of_networks_of_all_kinds(name):
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    torch.manual_seed(0)
    model, images = models.get_model(name, weights=None, **options).eval(), torch.randn(2, 3, 64, 96)
    found = attribute(model, images, [[1, 2], [3]], stages="coarse").maps
    assert found.shape == (2, 2, 64, 96)
    assert found[1, 1].isnan().all()
    assert found[0].abs().max() > 0.1
    alone = attribute(model, images[1:], [3], stages="coarse").maps[0, 0]
    torch.testing.assert_close(found[1, 0], alone, rtol=1e-3, atol=1e-4)
    passed = len(conservation(model, images, [1, 2], stages="coarse"))
    assert passed < 0.8 * len(conservation(model, images, [1, 2]))
    ends, pixels = (attribute(model, images, [[1, 2], [3]], stages=stages).maps for stages in ("ends", [1]))
    torch.testing.assert_close(ends, (2 * found + pixels) / 3, equal_nan=True)


def test_a_stage_the_network_has_not_and_one_in_several_branches():
    images = torch.randn(1, 3, 32, 32)
    with pytest.raises(LayerError, match=r"strides \[1, 2, 4\], but not at \[8\]"):
        attribute(chain(), images, [0], stages=[4, 8])
    with pytest.raises(LayerError, match=r"not at \[2\]"):
        attribute(TwoScales().eval(), images, [0], stages=[2])
    assert attribute(TwoScales().eval(), images, [0], stages=[1]).maps.abs().max() == 1


@pytest.mark.parametrize("wrong", [[], [3], [0], [2, 2], [2.0], [True], "fine", [-4]])
def test_what_names_no_stage(wrong):
    with pytest.raises(ValueError, match="stages="):
        attribute(chain(), torch.randn(1, 3, 16, 16), [0], stages=wrong)


class TwoScales(nn.Module):
    """All relevance of stride 2 lies in two maps at once."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(3, 4, 5, stride=2, padding=2)
        self.c, self.head = nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.Linear(8, 3)

    def forward(self, x):
        deep = torch.cat([self.c(self.a(x).relu()), self.c(self.b(x).relu())], 1).relu()
        return self.head(deep.mean((2, 3)))
