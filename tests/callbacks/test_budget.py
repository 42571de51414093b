import pytest

from hedgeseg.callbacks.budget import TimeBudget


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def look(budget, clock, images, cost, overhead=0.0):
    """Explain images of a given cost as the budget allows; how many fitted."""
    budget.open()
    done = 0
    while done < images:
        count = budget.fits(images - done) if done else max(1, budget.fits(images))
        if count < 1:
            break
        clock.now += count * cost
        budget.explained(count, count * cost)
        done += count
    clock.now += overhead
    budget.close()
    return done


def test_long_epochs_allow_all_images():
    clock = Clock()
    budget = TimeBudget(0.02, None, clock=clock)
    clock.now += 1000
    assert look(budget, clock, 8, cost=1.0) == 8


def test_costly_images_are_left_out():
    clock = Clock()
    budget = TimeBudget(0.02, None, clock=clock)
    counts = []
    for _ in range(4):
        clock.now += 200  # four seconds allowed
        counts.append(look(budget, clock, 8, cost=1.0))
    assert counts[-1] == 4


def test_overhead_of_drawing_is_counted():
    clock = Clock()
    budget = TimeBudget(0.02, None, clock=clock)
    for _ in range(5):
        clock.now += 200
        start = clock.now
        count = look(budget, clock, 8, cost=0.5, overhead=1.0)
    assert count < 8
    assert clock.now - start <= 4.5


def test_there_is_always_one_image():
    clock = Clock()
    budget = TimeBudget(0.02, 0.001, clock=clock)
    assert [look(budget, clock, 8, cost=5.0) for _ in range(3)] == [1, 1, 1]


def test_seconds_bound_a_look():
    clock = Clock()
    budget = TimeBudget(None, 3.0, clock=clock)
    for _ in range(3):
        clock.now += 1000
        count = look(budget, clock, 8, cost=1.0)
    assert count == 3


def test_what_the_first_look_overdraws_later_looks_save():
    clock = Clock()
    budget = TimeBudget(0.02, None, clock=clock)
    clock.now += 100
    begin = clock.now - 100
    counts = [look(budget, clock, 8, cost=9.0)]  # whatever is slow the first time
    for _ in range(9):
        clock.now += 100
        counts.append(look(budget, clock, 8, cost=0.5))
    assert counts[:4] == [1, 1, 1, 1]
    assert counts[-1] > 1
    trained = 10 * 100
    assert clock.now - begin - trained <= 0.021 * (clock.now - begin)


def test_what_is_not_spent_is_kept():
    clock = Clock()
    budget = TimeBudget(0.02, None, clock=clock)
    for _ in range(10):
        clock.now += 100
        look(budget, clock, 1, cost=0.1)
    clock.now += 1
    assert look(budget, clock, 50, cost=0.1) == 50


def test_a_training_of_seconds_is_not_limited():
    clock = Clock()
    budget = TimeBudget(0.02, None, clock=clock)
    counts = []
    for _ in range(3):
        clock.now += 2
        counts.append(look(budget, clock, 8, cost=0.3))
    assert counts == [8, 8, 1]  # six seconds at the third look, and 4.8 spent


def test_a_restart_forgets_the_time_before():
    clock = Clock()
    budget = TimeBudget(0.02, None, clock=clock)
    clock.now += 1e6
    budget.restart()
    clock.now += 5
    assert look(budget, clock, 8, cost=1.0) == 1


def test_no_limit_outside_training():
    clock = Clock()
    budget = TimeBudget(0.02, None, clock=clock)
    budget.open(training=False)
    assert budget.fits(100) == 100


@pytest.mark.parametrize(("fraction", "seconds"), [(0.0, None), (1.5, None), (None, 0.0)])
def test_refusals(fraction, seconds):
    with pytest.raises(ValueError, match="max_"):
        TimeBudget(fraction, seconds)
