import pytest

from hedgeseg.callbacks.budget import FREE, TimeBudget


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def look(budget, clock, images, cost, overhead=0.0, settled=False, training=True):
    """Explain images of a given cost as the budget allows; how many fitted."""
    budget.open(training, settled)
    done = 0
    with budget.spending():
        while done < images:
            count = budget.fits(images - done) if done else max(1, budget.fits(images))
            if count < 1:
                break
            clock.now += count * cost
            budget.explained(count, count * cost)
            done += count
    with budget.spending():
        clock.now += overhead
    budget.close(training)
    return done


@pytest.fixture
def clock():
    return Clock()


def test_long_epochs_allow_all_images(clock):
    budget = TimeBudget(0.02, None, clock=clock)
    clock.now += 2000
    assert look(budget, clock, 8, cost=1.0) == 8


def test_the_first_look_settles_how_many_fit(clock):
    budget = TimeBudget(0.02, None, clock=clock)
    clock.now += 500  # ten seconds earned, of which drawing takes its part
    assert look(budget, clock, 8, cost=1.0) == 4


def test_the_first_look_may_take_some_seconds_in_any_case(clock):
    budget = TimeBudget(0.02, None, clock=clock)
    clock.now += 30
    assert look(budget, clock, 8, cost=0.2) == 8


def test_later_looks_are_at_all_images_or_wait(clock):
    budget = TimeBudget(0.02, None, clock=clock)
    begin, counts, put_off = clock.now, [], 0
    for _ in range(200):
        clock.now += 10
        if not budget.affords():
            put_off += 1
            continue
        counts.append(look(budget, clock, 8, cost=0.1, overhead=0.2, settled=bool(counts)))
    assert set(counts) == {8}
    assert put_off > 100
    looked = clock.now - begin - 200 * 10
    assert looked <= 0.02 * (clock.now - begin) + FREE


def test_there_is_always_one_image(clock):
    budget = TimeBudget(0.02, 0.001, clock=clock)
    assert look(budget, clock, 8, cost=50.0) == 1


def test_seconds_bound_a_look(clock):
    budget = TimeBudget(None, 5.0, clock=clock)
    clock.now += 1000
    assert look(budget, clock, 8, cost=1.0) == 2
    assert budget.affords()


def test_what_is_slow_the_first_time_does_not_count_for_the_others(clock):
    budget = TimeBudget(None, 5.0, clock=clock)
    budget.open()
    budget.explained(1, 1.0)
    assert budget.fits(7) == 1
    budget.explained(1, 0.05)
    assert budget.fits(6) == 6


def test_a_training_of_seconds_is_not_limited(clock):
    budget = TimeBudget(0.02, None, clock=clock)
    affordable = []
    for settled in (False, True, True):
        clock.now += 2
        affordable.append(budget.affords())
        if affordable[-1]:
            assert look(budget, clock, 8, cost=0.3, settled=settled) == 8
    assert affordable == [True, True, False]


def test_only_the_look_is_timed(clock):
    budget = TimeBudget(None, None, clock=clock)
    budget.open()
    with budget.spending():
        clock.now += 1
    clock.now += 100  # other callbacks, the end of the epoch
    with budget.spending():
        clock.now += 2
    budget.close()
    assert budget.price == 3


def test_a_restart_forgets_the_time_before(clock):
    budget = TimeBudget(0.02, None, clock=clock)
    clock.now += 1e6
    budget.restart()
    clock.now += FREE
    assert budget.earned < 1


def test_no_limit_outside_training(clock):
    budget = TimeBudget(0.02, None, clock=clock)
    clock.now += 100
    assert look(budget, clock, 100, cost=9.0, training=False) == 100
    assert budget.price is None


@pytest.mark.parametrize(("fraction", "seconds"), [(0.0, None), (1.5, None), (None, 0.0)])
def test_refusals(fraction, seconds):
    with pytest.raises(ValueError, match="max_"):
        TimeBudget(fraction, seconds)
