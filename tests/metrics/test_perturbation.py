"""Region insertion, deletion and insertion on models whose answers can be counted by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from hedgeseg.metrics import Deletion, Insertion, RegionInsertion, probability_curves, region_insertions
from hedgeseg.metrics.canvas import CANVASES, IMAGENET_MEAN, IMAGENET_STD, make_canvas
from hedgeseg.metrics.perturbation import relevance_ranks

RAW = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


class Brightness(nn.Module):
    """Two logits, the mean brightness against a threshold; batch norm and dropout betray a wrong mode."""

    def __init__(self, threshold=0.5):
        super().__init__()
        self.threshold, self.norm, self.drop = threshold, nn.BatchNorm2d(3), nn.Dropout(0.5)

    def forward(self, images):
        level = self.drop(self.norm(images)).mean((1, 2, 3))
        return torch.stack([torch.full_like(level, self.threshold), level], 1)


def batch(count=3, size=20):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, size, size, generator=generator), torch.randn(count, size, size, generator=generator)


def test_ranks_are_stable():
    maps = torch.tensor([[[1.0, 3.0, 1.0], [3.0, -2.0, 1.0]]])
    assert relevance_ranks(maps).tolist() == [[[2, 0, 3], [1, 5, 4]]]


@pytest.mark.parametrize("canvas", CANVASES)
def test_region_insertion_equals_pasting_image_by_image_in_rgb(canvas):
    rgb, maps = batch()
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)
    images = (rgb - mean) / std
    model = nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    targets, fractions = torch.tensor([0, 1, 2]), (0.0, 0.05, 0.3, 1.0)
    plain = {
        "black": torch.zeros_like(rgb),
        "mean": mean.expand_as(rgb),
        "vignette": vignette(20).expand_as(rgb),
        "blur": make_canvas("blur", rgb, *RAW.values()),
    }[canvas]
    expected = torch.zeros(len(fractions), 3, dtype=torch.bool)
    for row, fraction in enumerate(fractions):
        for i in range(3):
            top = np.argsort(-maps[i].numpy().ravel(), kind="stable")[: int(fraction * 400)]
            pasted = plain[i].clone().flatten(1)
            pasted[:, top] = rgb[i].flatten(1)[:, top]
            logits = model(((pasted.view(3, 20, 20) - mean) / std)[None])
            expected[row, i] = logits.argmax() == targets[i]
    assert torch.equal(region_insertions(model, images, maps, targets, fractions, canvas), expected)


def vignette(size):
    axis = (np.arange(size) - (size - 1) / 2) / (64 * size / 224)
    return torch.from_numpy(np.exp(-(axis[:, None] ** 2 + axis**2) / 2)).float()


def test_vignette_is_the_papers_at_224_pixels():
    canvas = make_canvas("vignette", torch.zeros(1, 3, 224, 224), *RAW.values())
    assert canvas[0, 0, 111, 111].item() == pytest.approx(1.0, abs=1e-3)
    assert canvas[0, 1, 111, 112 + 64].item() == pytest.approx(np.exp(-0.5), abs=0.01)
    torch.testing.assert_close(canvas[0, 2], vignette(224))


def test_region_insertion_scores():
    images = torch.ones(2, 3, 10, 10)
    maps = torch.rand(2, 10, 10)
    metric = RegionInsertion(Brightness(0.105), canvas="black", **RAW)
    metric.update(images, maps, torch.tensor([1, 1]))
    metric.update(images, maps, [0, 0])
    result = metric.compute()
    # Class 1 wins once 11 % of the pixels are there, class 0 until then.
    assert result["region_insertion_curve"].tolist() == [0.5] * 20
    metric.reset()
    metric.update(images, maps, torch.tensor([1, 1]))
    result = metric.compute()
    assert result["region_insertion_curve"].tolist() == [0.0] * 10 + [1.0] * 10
    assert result["region_insertion"].item() == result["region_insertion_relative"].item() == 0.5
    assert result["region_insertion_clean"].item() == 1.0
    assert result["region_insertion_canvas"].item() == 0.0
    # The logits' difference grows by a hundredth with every percent.
    percent = torch.arange(1, 21) / 100
    torch.testing.assert_close(result["region_insertion_probability_curve"], (percent - 0.105).sigmoid())
    assert result["region_insertion_probability"].item() == pytest.approx((percent - 0.105).sigmoid().mean().item())
    assert result["region_insertion_fractions"].tolist() == pytest.approx([p / 100 for p in range(1, 21)])


def test_fractions_count_pixels_exactly():
    seen = []

    def count(images):
        seen.extend(int(image[0].sum()) for image in images)
        return images.new_zeros(len(images), 2)

    fractions = [percent / 100 for percent in range(1, 101)]
    region_insertions(count, torch.ones(1, 3, 10, 10), torch.rand(1, 10, 10), [0], fractions, "black", **RAW)
    assert seen == list(range(1, 101))


@pytest.mark.parametrize("change", ["deletion", "insertion"])
def test_probability_curves_equal_a_loop(change):
    images, maps = batch(2, 12)
    model = nn.Sequential(nn.Flatten(), nn.Linear(432, 3))
    targets = torch.tensor([2, 0])
    curves = probability_curves(model, images, maps, targets, change, "black", steps=7, **RAW)
    for i in range(2):
        order = np.argsort(-maps[i].numpy().ravel(), kind="stable")
        for step in range(8):
            chosen = torch.zeros(144, dtype=torch.bool)
            chosen[torch.from_numpy(order[: 144 * step // 7])] = True
            kept = ~chosen if change == "deletion" else chosen
            probability = model((images[i].flatten(1) * kept).view(1, 3, 12, 12)).softmax(1)[0, targets[i]]
            assert curves[i, step].item() == pytest.approx(probability.item(), abs=1e-6)
    metric = {"deletion": Deletion, "insertion": Insertion}[change](
        model, canvas="black", steps=7, num_classes=3, **RAW
    )
    metric.update(images, maps, targets)
    result = metric.compute()
    areas = np.trapezoid(curves.detach().numpy(), dx=1 / 7, axis=1)
    assert result[change].item() == pytest.approx(areas.mean(), abs=1e-6)
    torch.testing.assert_close(result[f"{change}_curve"], curves.mean(0).detach())
    assert result[f"{change}_per_class"][2].item() == pytest.approx(areas[0], abs=1e-6)


@pytest.mark.parametrize("inference", [False, True])
def test_the_model_is_evaluated_and_left_as_it_was(inference):
    model = Brightness().train()
    model.drop.eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    images, maps = batch()
    together, apart = RegionInsertion(model, **RAW), RegionInsertion(model, **RAW)
    with torch.inference_mode(inference):
        together.update(images + 0.4, maps, [1, 1, 1])
        for i in range(3):
            apart.update(images[i : i + 1] + 0.4, maps[i : i + 1], [1])
        Deletion(model, steps=3, **RAW).update(images, maps, [1, 1, 1])
    assert torch.equal(together.correct, apart.correct)
    together.update(images, maps, [1, 1, 1])
    assert model.training
    assert model.norm.training
    assert not model.drop.training
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert not list(together.parameters())
    assert not list(together.children())


def test_flags_come_back_after_an_error():
    model = nn.Sequential(nn.Flatten(), nn.Linear(5, 2)).train()
    with pytest.raises(RuntimeError):
        RegionInsertion(model, **RAW).update(*batch(), [0, 0, 0])
    assert model.training
    assert model[1].training


def test_nothing_seen_is_nan_with_a_warning():
    metric = RegionInsertion(Brightness(), **RAW)
    metric.update(torch.zeros(0, 3, 8, 8), torch.zeros(0, 8, 8), torch.zeros(0, dtype=torch.int64))
    with pytest.warns(UserWarning, match="no map to average"):
        assert metric.compute()["region_insertion"].isnan()


def test_arguments_are_checked():
    images, maps = batch()
    with pytest.raises(ValueError, match="canvas 'grey' is unknown; choose one of vignette"):
        RegionInsertion(Brightness(), canvas="grey")
    with pytest.raises(ValueError, match="fractions must be shares"):
        RegionInsertion(Brightness(), fractions=(1, 20))
    with pytest.raises(ValueError, match="mean and std need 3 values"):
        RegionInsertion(Brightness(), mean=(0.5,), std=(0.5,)).update(images, maps, [0, 0, 0])
    with pytest.raises(ValueError, match="one class index per image"):
        RegionInsertion(Brightness()).update(images, maps, [0])
    with pytest.raises(TypeError, match="integer class indices"):
        RegionInsertion(Brightness()).update(images, maps, torch.rand(3))
    with pytest.raises(ValueError, match="images must be"):
        RegionInsertion(Brightness()).update(images[:1], maps, [0, 0, 0])
    with pytest.raises(ValueError, match="steps must be at least 1"):
        Insertion(Brightness(), steps=0)
