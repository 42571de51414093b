import pytest
import torch

from hedgeseg.seeds.auto_level import HIGHEST, Auto, Moments, PerClass, PooledMoments, moments, rule_over
from hedgeseg.seeds.background import Constant, as_background, calibrate, cut


def disc(area, floor=0.0, height=1.0, side=64):
    """A plateau of `height` on a floor, over `area` of the picture."""
    scores = torch.full((side * side,), floor)
    scores[: round(area * side * side)] = height
    return scores.view(1, side, side)


def test_the_level_is_mean_and_a_share_of_the_deviation():
    scores = torch.rand(3, 20, 30)
    (levels,) = Auto(0.5).levels(scores)
    wanted = scores.flatten(1).mean(1) + 0.5 * scores.flatten(1).std(1, correction=0)
    torch.testing.assert_close(levels.flatten(), wanted)


@pytest.mark.parametrize("area", [0.02, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("floor", [0.0, 0.5])
def test_a_plateau_is_cut_out_whatever_its_size_and_the_floor_under_it(area, floor):
    scores = disc(area, floor)
    mask = cut([calibrate(scores, level) for level in Auto().levels(scores)], torch.tensor([4]))
    assert torch.equal(mask == 5, scores[0] == 1)


def test_it_follows_a_map_that_is_stretched():
    """A floor and a range that say nothing about the object move the level along: the mask stays."""
    scores = torch.rand(2, 16, 16) ** 3
    (plain,) = Auto().levels(scores)
    (moved,) = Auto().levels(0.4 + 0.5 * scores)
    torch.testing.assert_close(moved, 0.4 + 0.5 * plain)


@pytest.mark.parametrize("scores", [torch.zeros(1, 8, 8), torch.ones(2, 8, 8), torch.full((1, 4, 4), 0.5)])
def test_maps_without_contrast_have_a_level_in_range(scores):
    (levels,) = Auto().levels(scores)
    assert ((levels >= 0) & (levels <= HIGHEST)).all()


def test_classes_are_pooled_over_their_images_each_counting_alike():
    small, large = torch.rand(1, 8, 8), torch.rand(2, 100, 50) / 4
    pooled = PooledMoments()
    pooled.add(small, [7])
    pooled.add(large, [7, 2])
    assert pooled[7] == moments(small)[0] + moments(large)[0]
    both = (small.double().mean() + large[0].double().mean()) / 2
    squares = (small.double().square().mean() + large[0].double().square().mean()) / 2
    level = Auto(1.0).level(pooled[7])
    assert level == pytest.approx(float(both + (squares - both**2).sqrt()))
    assert Auto(1.0).over(pooled, [2, 7]) == PerClass((Auto(1.0).level(moments(large)[1]), level))


def test_only_auto_looks_at_the_data_set():
    def never():
        raise AssertionError
        yield

    rule = Constant(0.3)
    assert rule_over(rule, never())([1, 2]) is rule
    scores = torch.rand(1, 8, 8)
    of_classes = rule_over(Auto(), iter([(scores, [3]), (disc(0.5, side=8), [3])]))
    (level,) = of_classes([3]).levels(scores)
    assert level.item() == pytest.approx(Auto().level(moments(scores)[0] + moments(disc(0.5, side=8))[0]))


def test_by_name_with_settings_and_what_is_wrong():
    assert as_background("auto") == Auto()
    assert as_background({"auto": {"width": 1.0}}) == Auto(1.0)
    with pytest.raises(ValueError, match="width"):
        Auto(float("nan"))
    with pytest.raises(ValueError, match="2 classes for scores of 1"):
        PerClass((0.1, 0.2)).levels(torch.rand(1, 4, 4))
    assert Auto().level(Moments(2, 2.0, 2.0)) == HIGHEST
