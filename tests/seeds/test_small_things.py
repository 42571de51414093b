import pytest
import torch

from hedgeseg.seeds.auto_level import Auto, PerClass, PooledMoments
from hedgeseg.seeds.background import as_background
from hedgeseg.seeds.small_things import TIP, at_the_tip, small_classes


def peak(width, side=64):
    """A bell of a standard deviation of so many pixels."""
    place = torch.arange(side) - side / 2
    bell = (-(place**2) / (2 * width**2)).exp()
    return (bell[:, None] * bell).unsqueeze(0)


def pooled(**scores):
    found = PooledMoments()
    for c, maps in enumerate(scores.values()):
        for one in maps:
            found.add(one, [c])
    return found


@pytest.mark.parametrize("area", [0.01, 0.15, 0.5])
def test_a_flat_map_has_the_participation_ratio_of_its_area_however_high_it_is(area):
    scores = torch.zeros(1, 100, 100)
    scores.view(-1)[: round(area * 10_000)] = 0.6
    assert pooled(flat=[scores, scores])[0].participation == pytest.approx(area)
    assert pooled(nothing=[torch.zeros(1, 4, 4)])[0].participation == 0


def test_peaks_are_small_and_wide_maps_are_not():
    found = pooled(peaks=[peak(3), peak(5)], wide=[peak(14), peak(3)], all_over=[torch.ones(1, 64, 64)])
    assert found.classes == (0, 1, 2)
    assert small_classes(found, 0.2) == {0}
    assert small_classes(found, 0.0) == frozenset()
    assert small_classes(found, 1.0) == {0, 1}
    with pytest.raises(ValueError, match=r"small is a share.*got 3"):
        small_classes(found, 3)


def test_small_classes_are_cut_at_the_tip_and_no_lower_than_their_level():
    rule = PerClass((0.2, 0.3, 0.9))
    assert at_the_tip(rule, [4, 7, 9], {7, 9}) == PerClass((0.2, TIP, 0.9))
    # the bell's tip, not its foot
    scores = peak(4)
    level = Auto().over(pooled(peaks=[scores]), [0])
    (low,), (high,) = level.levels(scores), at_the_tip(level, [0], {0}).levels(scores)
    assert (scores > low).sum() > 8 * (scores > high).sum() > 0


@pytest.mark.parametrize("rule", ["otsu", 0.4])
def test_a_rule_that_knows_no_levels_stays(rule):
    found = as_background(rule)
    assert at_the_tip(found, [0], {0}) is found
