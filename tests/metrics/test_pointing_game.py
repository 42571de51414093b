import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgeseg.metrics import PointingGame, difficult_pairs, pointing_hits


def brute_force(saliency: np.ndarray, mask: np.ndarray, tolerance: float) -> float:
    """One map, pixel by pixel."""
    row, column = divmod(int(saliency.argmax()), saliency.shape[1])
    near = [(y - row) ** 2 + (x - column) ** 2 < tolerance**2 for y, x in zip(*mask.nonzero(), strict=True)]
    return float(any(near)) if near else float("nan")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), tolerance=st.sampled_from([1, 2, 3, 5, 15]), share=st.sampled_from([0.0, 0.02, 0.2]))
def test_hits_equal_a_loop_over_pixels(seed, tolerance, share):
    rng = np.random.default_rng(seed)
    maps = rng.integers(-3, 4, (4, 11, 17)).astype(np.float32)  # few values: many ties
    masks = rng.random((4, 11, 17)) < share
    expected = [brute_force(*pair, tolerance) for pair in zip(maps, masks, strict=True)]
    hits = pointing_hits(torch.from_numpy(maps), torch.from_numpy(masks), tolerance)
    np.testing.assert_array_equal(hits.numpy(), np.array(expected, dtype=np.float32))


def pair(point=(20, 20), target=(20, 20), size=(64, 64)):
    maps, masks = torch.zeros(1, *size), torch.zeros(1, *size, dtype=torch.bool)
    maps[0, point[0], point[1]] = 1.0
    masks[0, target[0], target[1]] = True
    return maps, masks


@pytest.mark.parametrize(
    ("offset", "hit"), [((0, 14), 1.0), ((0, 15), 0.0), ((9, 12), 0.0), ((9, 11), 1.0), ((15, 0), 0.0)]
)
def test_the_tolerance_is_strict(offset, hit):
    maps, masks = pair(target=(20 + offset[0], 20 + offset[1]))
    assert pointing_hits(maps, masks).item() == hit


def test_zero_tolerance_asks_for_the_pixel_itself():
    assert pointing_hits(*pair(), tolerance=0).item() == 1.0
    assert pointing_hits(*pair(target=(20, 21)), tolerance=0).item() == 0.0


def test_the_first_of_equal_maxima_is_the_point():
    maps, masks = pair(point=(5, 5), target=(5, 5))
    maps[0, 5, 40] = 1.0
    assert pointing_hits(maps, masks, 3).item() == 1.0
    maps[0, 4, 60] = 1.0
    assert pointing_hits(maps, masks, 3).item() == 0.0


def test_ignored_pixels_neither_point_nor_hit():
    maps, masks = pair(point=(5, 5), target=(40, 40))
    maps[0, 40, 40] = 0.5
    valid = torch.ones_like(masks)
    assert pointing_hits(maps, masks, 3, valid).item() == 0.0
    valid[0, 5, 5] = False
    assert pointing_hits(maps, masks, 3, valid).item() == 1.0
    valid[0, 40, 40] = False
    assert pointing_hits(maps, masks, 3, valid).isnan().all()


def test_edge_cases():
    maps = torch.stack([torch.full((8, 8), -1.0), torch.full((8, 8), 7.0), torch.zeros(8, 8)])
    maps[0, 2, 2] = -0.5
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[0, 2, 2] = masks[1, 0, 0] = True
    hits = pointing_hits(maps, masks, 1)
    assert hits[:2].tolist() == [1.0, 1.0]  # all negative; constant: the first pixel
    assert hits[2].isnan()  # empty mask
    assert pointing_hits(torch.zeros(1, 1, 1), torch.ones(1, 1, 1, dtype=torch.bool)).item() == 1.0
    assert pointing_hits(maps, torch.ones_like(masks)).tolist() == [1.0, 1.0, 1.0]


def test_maps_are_resized_to_the_masks():
    maps = torch.zeros(1, 8, 8)
    maps[0, 6, 1] = 1.0
    masks = torch.zeros(1, 64, 32, dtype=torch.bool)
    masks[0, 52, 6] = True
    assert pointing_hits(maps, masks, tolerance=4).item() == 1.0


def test_class_mean_micro_mean_and_absent_class():
    maps, masks = (torch.cat([tensor] * 4) for tensor in pair())
    masks[3] = False
    masks[3, 0, 60] = True
    metric = PointingGame(num_classes=3)
    metric.update(maps, masks, torch.tensor([0, 0, 0, 2]))
    result = metric.compute()
    assert result["pointing_game"].item() == 0.5
    assert result["pointing_game_micro"].item() == 0.75
    torch.testing.assert_close(result["pointing_game_per_class"], torch.tensor([1.0, torch.nan, 0.0]), equal_nan=True)
    assert set(result) == {"pointing_game"} | {
        f"pointing_game_{suffix}" for suffix in ("micro", "per_class", "maps", "skipped")
    }
    assert all(value.is_floating_point() for value in result.values())


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
def test_hits_and_accuracies_equal_torchray():
    oracle = pytest.importorskip("torchray.benchmark.pointing_game").PointingGame(num_classes=4, tolerance=15)
    generator = torch.Generator().manual_seed(0)
    metric = PointingGame(num_classes=4)
    for number in range(60):
        saliency = torch.rand(1, 70, 90, generator=generator)
        mask = torch.zeros(1, 70, 90, dtype=torch.bool)
        top, left = (int(torch.randint(0, side, (), generator=generator)) for side in (60, 80))
        mask[0, top : top + 8, left : left + 5] = True
        row, column = divmod(int(saliency.argmax()), 90)
        oracle.aggregate(oracle.evaluate(mask[0], (column, row)), number % 3)
        metric.update(saliency, mask, [number % 3])
    result = metric.compute()
    # It counts the class that does not occur as 0.
    torch.testing.assert_close(
        result["pointing_game_per_class"].nan_to_num().double(), torch.as_tensor(oracle.class_accuracies).double()
    )
    assert result["pointing_game_per_class"].nan_to_num().mean().item() == pytest.approx(float(oracle.accuracy))


def test_subsets_are_counted_apart():
    maps, masks = (torch.cat([tensor] * 4) for tensor in pair())
    masks[2:] = False
    masks[2:, 0, 60] = True
    metric = PointingGame(num_classes=1)
    metric.update(
        maps,
        masks,
        [0, 0, 0, 0],
        difficult=torch.tensor([True, False, True, False]),
        predicted=torch.tensor([True, True, False, False]),
    )
    result = metric.compute()
    assert result["pointing_game"].item() == 0.5
    assert result["pointing_game_difficult"].item() == 0.5
    assert result["pointing_game_predicted"].item() == 1.0
    assert result["pointing_game_difficult_predicted"].item() == 1.0


def test_difficult_pairs_are_small_and_in_company():
    masks = torch.zeros(4, 8, 8, dtype=torch.bool)
    masks[0, :2, :4] = True  # small, beside another class
    masks[1, :8, :4] = True  # large
    masks[2, 0, 0] = True  # small and alone
    masks[3, 0, 0] = True  # alone too: the same class does not count
    subset = difficult_pairs(masks, torch.tensor([0, 1, 0, 0]), torch.tensor([0, 0, 1, 1]))
    assert subset.tolist() == [True, False, False, False]


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="tolerance must be at least 0"):
        PointingGame(tolerance=-1)
    with pytest.raises(ValueError, match="num_classes must be at least 1"):
        PointingGame(num_classes=0)
    with pytest.raises(ValueError, match=r"classes\[1\] = 5 is not in 0\.\.1"):
        PointingGame(num_classes=2).update(torch.zeros(2, 4, 4), torch.ones(2, 4, 4, dtype=torch.bool), [0, 5])
    with pytest.raises(ValueError, match="classes are needed"):
        PointingGame(num_classes=2).update(torch.zeros(1, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool))
