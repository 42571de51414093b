"""How far long work is, on a terminal and in a file."""

import io
import sys

import pytest

from hedgeseg.progress import Lines, progress


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def lines(clock, items, seconds):
    """What is written of items that take so long each."""
    file = io.StringIO()
    for item in (bar := Lines(range(items), "scores", unit="image", file=file, clock=clock)):
        clock.now += seconds
        if item == 0:
            bar.set_postfix({"loss": "0.5"})
    return file.getvalue().splitlines()


def test_quick_work_says_nothing(clock):
    assert lines(clock, 9, 1) == []


def test_lines_come_less_and_less_often_and_at_the_end(clock):
    told = lines(clock, 1000, 1)
    # after 10, 20, 40, 80, 160 and then 300 seconds each, and when all is done
    assert [int(line.split()[1].split("/")[0]) for line in told] == [10, 30, 70, 150, 310, 610, 910, 1000]
    assert told[0] == "scores: 10/1000 image, 0:10, 16:30 left, loss 0.5"
    assert "left" not in told[-1]


def test_work_without_items_counts_what_it_is_told(clock):
    file = io.StringIO()
    bar = Lines((), "fit", total=8, unit="batch", initial=4, file=file, clock=clock)
    with bar as entered:
        clock.now = 20
        entered.update(2)
        clock.now = 21
        entered.update()
    told = ["fit: 6/8 batch, 0:20, 0:20 left", "fit: 7/8 batch, 0:21, 0:07 left"]
    assert file.getvalue().splitlines() == told  # the second as the block ends


def test_a_file_gets_lines_and_a_terminal_one_bar(monkeypatch, capsys):
    assert isinstance(progress([1, 2], "scores"), Lines)
    assert list(progress(iter([1, 2]), "scores")) == [1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress([1, 2], "scores", unit="image")) == [1, 2]
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "2/2" in shown
    assert list(progress([1, 2], "scores", disable=True)) == [1, 2]
    assert capsys.readouterr().err == ""
