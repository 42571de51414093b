import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from hedgeseg.metrics import PixelAveragePrecision, pixel_average_precisions

FOREGROUND, TWO_CHANNEL = "pixel_average_precision", "pixel_average_precision_two_channel"


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), levels=st.sampled_from([2, 4, 2**20]), scale=st.sampled_from([2**-30, 1.0, 256.0]))
def test_both_definitions_equal_scikit_learn_with_ties_and_ignored_pixels(seed, levels, scale):
    rng = np.random.default_rng(seed)
    maps = (rng.integers(-levels, levels, (3, 14, 10)) * scale).astype(np.float64)
    masks, valid = rng.random((3, 14, 10)) < 0.3, rng.random((3, 14, 10)) < 0.8
    # With a range that is a power of two, rescaling is exact and ties between map and 1 - map are the same for both.
    maps[:, 0, 0], maps[:, 0, 1], valid[:, 0, :2] = -levels * scale, levels * scale, True
    values = pixel_average_precisions(*map(torch.from_numpy, (maps, masks, valid)))
    for index, (saliency, mask, keep) in enumerate(zip(maps, masks, valid, strict=True)):
        scores, targets = saliency[keep], mask[keep]
        expected = average_precision_score(targets, scores)
        assert values[FOREGROUND][index].item() == pytest.approx(expected, abs=1e-12)
        scaled = (scores - scores.min()) / (scores.max() - scores.min())
        pooled = average_precision_score(np.r_[~targets, targets], np.r_[1 - scaled, scaled])
        assert values[TWO_CHANNEL][index].item() == pytest.approx(pooled, abs=1e-12)


def test_float32_is_exact_enough():
    rng = np.random.default_rng(0)
    maps, masks = rng.standard_normal((2, 224, 224)).astype(np.float32), rng.random((2, 224, 224)) < 0.35
    values = pixel_average_precisions(torch.from_numpy(maps), torch.from_numpy(masks))[FOREGROUND]
    expected = [average_precision_score(k.ravel(), m.ravel()) for m, k in zip(maps, masks, strict=True)]
    np.testing.assert_allclose(values.numpy(), expected, atol=1e-6)


def batch(count=4, size=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(count, size, size, dtype=torch.bool)
    masks[:, 4:12, 4:15] = True
    return torch.rand(count, size, size, generator=generator, dtype=torch.float64) + 0.5 * masks, masks


def test_foreground_depends_on_the_ranking_alone_and_two_channels_on_contrast():
    maps, masks = batch()
    plain = pixel_average_precisions(maps, masks)
    for changed in (maps**3, maps * 1000 - 7, torch.log(maps + 1e-3), maps.exp()):
        values = pixel_average_precisions(changed, masks)
        assert torch.equal(values[FOREGROUND], plain[FOREGROUND])
    assert not torch.allclose(pixel_average_precisions(maps**3, masks)[TWO_CHANNEL], plain[TWO_CHANNEL])


def test_closed_forms():
    _, masks = batch(1)
    share = masks.double().mean().item()
    constant = pixel_average_precisions(torch.full((1, 20, 20), 7.0), masks)
    assert constant[FOREGROUND].item() == pytest.approx(share)
    assert constant[TWO_CHANNEL].item() == pytest.approx(0.5)
    # A map that is 0 or 1 everywhere but for one void pixel that keeps its range at [0, 1].
    for level, expected in ((0.0, (1 - share) ** 2 + share / 2), (1.0, share**2 + (1 - share) / 2)):
        maps = torch.full((1, 200, 200), level, dtype=torch.float64)
        maps[0, -1, -1] = 1 - level
        large = torch.zeros(1, 200, 200, dtype=torch.bool)
        large.view(-1)[: int(share * 40000)] = True
        assert pixel_average_precisions(maps, large)[TWO_CHANNEL].item() == pytest.approx(expected, abs=1e-3)
    perfect = pixel_average_precisions(masks.float(), masks)
    assert perfect[FOREGROUND].item() == perfect[TWO_CHANNEL].item() == 1.0


def test_empty_and_full_masks_are_skipped_and_counted():
    maps, masks = batch(4)
    masks[1], masks[2] = False, True
    metric = PixelAveragePrecision(num_classes=2)
    metric.update(maps, masks, torch.tensor([0, 0, 1, 1]))
    result = metric.compute()
    assert result["pixel_average_precision_skipped"].item() == 2.0
    expected = [average_precision_score(masks[i].numpy().ravel(), maps[i].numpy().ravel()) for i in (0, 3)]
    assert result[FOREGROUND].item() == pytest.approx(np.mean(expected), abs=1e-6)
    np.testing.assert_allclose(result[f"{FOREGROUND}_per_class"].numpy(), expected, atol=1e-6)


def test_all_negative_map_is_ranked_like_any_other():
    maps, masks = batch(1)
    values = pixel_average_precisions(maps - 100, masks)[FOREGROUND]
    torch.testing.assert_close(values, pixel_average_precisions(maps, masks)[FOREGROUND], atol=1e-12, rtol=0)


def test_one_pixel_in_the_mask():
    maps, masks = torch.arange(9.0).view(1, 3, 3), torch.zeros(1, 3, 3, dtype=torch.bool)
    masks[0, 2, 0] = True  # third strongest
    assert pixel_average_precisions(maps, masks)[FOREGROUND].item() == pytest.approx(1 / 3)
    single = pixel_average_precisions(torch.zeros(1, 1, 1), torch.ones(1, 1, 1, dtype=torch.bool))
    assert single[FOREGROUND].isnan().all()
