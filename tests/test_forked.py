"""Parts of a work in forks: what they return, and what becomes of those that do not."""

import os
import signal
import time
import warnings
from functools import partial
from pathlib import Path

import cv2
import pytest
import torch

from hedgeseg.forked import can_fork, forked, one_thread

pytestmark = pytest.mark.skipif(not can_fork(torch.device("cpu")), reason="forks cannot compute here")


def living():
    """Processes that are children of this one."""
    with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children") as file:
        return file.read().split()


def test_every_part_tells_with_one_thread():
    weight = torch.randn(64, 64)

    def part(number, tell):
        for _ in range(2):
            tell((number, torch.get_num_threads(), (weight @ weight).sum().item()))

    with one_thread():
        expected = (weight @ weight).sum().item()
    told = forked([partial(part, n) for n in range(3)], 60)
    assert sorted(told) == [(n, 1, expected) for n in (0, 0, 1, 1, 2, 2)]


def test_gradients_after_gradients():
    weight = torch.randn(32, 32, requires_grad=True)

    def part(tell):
        (found,) = torch.autograd.grad((weight @ weight).square().sum(), weight)
        tell(found.numpy())

    with one_thread():
        expected = []
        part(expected.append)
    told = forked([part, part], 60)
    assert len(told) == 2
    assert all((found == expected[0]).all() for found in told)


def fails(tell):
    tell("before")
    raise ValueError("of the part")


def dies(tell):
    tell("before")
    os.kill(os.getpid(), signal.SIGKILL)


def sleeps(tell):
    tell("before")
    time.sleep(1000)


def tells_what_cannot_be_sent(tell):
    tell("before")
    tell(lambda: None)


@pytest.mark.parametrize("part", [fails, dies, sleeps, tells_what_cannot_be_sent])
def test_of_a_part_that_does_not_end_well_there_is_what_it_told_and_it_is_gone(part, capfd):
    before = living()
    start = time.monotonic()
    told = forked([part, lambda tell: tell("well")], 2.0 if part is sleeps else 60)
    assert sorted(told) == ["before", "well"]
    assert time.monotonic() - start < 30
    assert living() == before
    assert capfd.readouterr() == ("", "")


def test_an_interruption_ends_the_parts():
    before = living()

    def interrupt(*_):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            forked([sleeps, sleeps], 1000)
    finally:
        signal.signal(signal.SIGALRM, old)
    assert living() == before


def test_parts_that_talk_take_as_long_as_they_like_and_end_when_asked():
    def part(tell):
        for number in range(1000):
            tell(number)
            time.sleep(0.3)

    start = time.monotonic()
    told = forked([part], 1.0, lambda: time.monotonic() - start > 3)
    assert 6 <= len(told) < 20


@pytest.mark.parametrize("error", [BlockingIOError(11, "too many"), OSError(12, "no memory")])
def test_forks_that_cannot_be_had_are_left_out(monkeypatch, error):
    real, count = os.fork, []

    def fork():
        count.append(1)
        if len(count) == 2:
            raise error
        return real()

    monkeypatch.setattr(os, "fork", fork)
    assert forked([lambda tell: tell(1), lambda tell: tell(2), lambda tell: tell(3)], 60) == [1]


def test_parts_die_with_a_caller_that_is_killed(tmp_path):
    def name_yourself(number, tell):
        (tmp_path / str(number)).write_text(str(os.getpid()))
        time.sleep(1000)

    caller = os.fork()
    if not caller:
        forked([partial(name_yourself, n) for n in range(2)], 1000)
        os._exit(0)
    until = time.monotonic() + 30
    while len(list(tmp_path.iterdir())) < 2 or not all(path.read_text() for path in tmp_path.iterdir()):
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(caller, signal.SIGKILL)
    os.waitpid(caller, 0)
    parts = [Path("/proc", path.read_text(), "stat") for path in tmp_path.iterdir()]
    while any(stat.exists() and stat.read_text().split()[2] != "Z" for stat in parts):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_nothing_of_the_caller_changes():
    threads, pool = torch.get_num_threads(), cv2.getNumThreads()

    def part(tell):
        warnings.warn("of the part", stacklevel=1)
        print("of the part")
        torch.set_num_threads(5)
        tell(cv2.blur(torch.rand(300, 300, 3).numpy(), (5, 5)).shape)

    cv2.blur(torch.rand(300, 300, 3).numpy(), (5, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 says that forks may wait for ever
        assert forked([part, part], 60) == [(300, 300, 3)] * 2
    assert (torch.get_num_threads(), cv2.getNumThreads()) == (threads, pool)


def test_a_gpu_has_no_forks():
    assert not can_fork(torch.device("meta"))
