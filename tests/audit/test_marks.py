import numpy as np
import pytest

from hedgeseg.audit.marks import SHRINKAGES, Space, find_marks
from hedgeseg.audit.places import is_near, strongest

pytest.importorskip("scipy")

GRID, SEEN = 10, 12


def scenes(count, seed):
    """Views of pictures whose places differ gradually, (n, g, g, D)."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((SEEN, SEEN))
    return rng.standard_normal((count, GRID, GRID, SEEN)) @ mixing


def planted(seed, share=0.4, count=120, used=0.8, thing=None):
    """A class's pictures, part of which carry a thing somewhere; maps that mostly use it; and pictures without."""
    rng = np.random.default_rng(seed + 1)
    views, others = scenes(count, seed), scenes(80, seed + 50)
    thing = 14 * rng.standard_normal(SEEN) if thing is None else thing
    carries = np.arange(count) < round(share * count)
    maps = 0.2 * rng.random((count, GRID, GRID))
    for row in range(count):
        for _ in range(3):  # evidence of other kinds
            maps[row, rng.integers(GRID), rng.integers(GRID)] = rng.uniform(0.5, 1)
        if carries[row]:
            y, x = rng.integers(GRID, size=2)
            views[row, y, x] = thing + rng.standard_normal(SEEN)
            if rng.random() < used:
                maps[row, y, x] = 1.0
    views = np.concatenate([views, others]).astype(np.float16)
    return (
        [Space(views, shrinkage) for shrinkage in SHRINKAGES],
        np.arange(count),
        np.arange(count, count + 80),
        maps.astype(np.float16),
        carries,
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_what_part_of_the_pictures_carry_is_found_wherever_it_is(seed, share):
    spaces, own, others, maps, carries = planted(seed, share)
    [mark] = find_marks(spaces, own, others, maps)
    assert np.array_equal(mark.carriers, carries)
    assert mark.elsewhere == 0
    assert mark.likeness[carries].mean() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_gradual_differences_are_no_mark(seed):
    spaces, own, others, maps, _ = planted(seed, share=0.0)
    assert find_marks(spaces, own, others, maps) == []


def test_what_the_network_does_not_use_is_no_mark():
    spaces, own, others, maps, _ = planted(0, used=0.0)
    assert find_marks(spaces, own, others, maps) == []


def test_what_other_classes_carry_too_is_no_mark():
    spaces, own, _, maps, carries = planted(1)
    assert len(find_marks(spaces, own, np.arange(120, 200), maps)) == 1
    rest = np.concatenate([np.arange(120, 200), np.flatnonzero(carries)[:20]])
    assert find_marks(spaces, own, rest, maps) == []


def test_what_most_of_the_class_carries_is_the_class():
    spaces, own, others, maps, _ = planted(2, share=0.8)
    assert find_marks(spaces, own, others, maps) == []


def test_the_place_is_told():
    spaces, own, others, maps, carries = planted(3, used=1.0)
    [mark] = find_marks(spaces, own, others, maps)
    strong = maps.reshape(len(maps), -1)[own, mark.places]
    assert (strong[carries] == 1).mean() > 0.95


def test_strongest_places_are_apart_and_have_evidence():
    grid = -np.ones((8, 8))
    grid[1, 1], grid[1, 2], grid[6, 5], grid[0, 7] = 4, 3.5, 2, 1
    assert strongest(grid).tolist() == [1 * 8 + 1, 6 * 8 + 5, 7]
    assert strongest(grid, 2).tolist() == [9, 53]
    assert strongest(-np.ones((4, 4))).tolist() == []
    assert is_near(9, 9 + 16 + 2, 8)
    assert not is_near(7, 8, 8)
