"""How far long work is: one bar that stays in its line, or plain lines now and then where no terminal is.

    for picture in progress(pictures, "scores", unit="image"):
        ...

A bar redraws itself with carriage returns, which fill a log file or a notebook's output with thousands of copies. There
a line is written after ten seconds, then after twenty more, after forty, and at the end; quick work says nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any, Generic, Protocol, TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")

FIRST = 10.0
LONGEST = 300.0
"""Seconds before the first line, and between lines at most."""


class Bar(Protocol):
    """What work tells: `update` counts, `set_postfix` adds numbers, `close` ends it."""

    def __iter__(self) -> Iterator[Any]:
        """The items of the work, counted as they are asked for."""
        ...

    def update(self, n: int = 1) -> Any:
        """So many more are done."""
        ...

    def set_postfix(self, numbers: Mapping[str, Any], refresh: bool = True) -> None:
        """Numbers to show beside the count."""
        ...

    def close(self) -> None:
        """The work is over."""
        ...

    def __enter__(self) -> Bar:
        """The bar, which is closed when the block ends."""
        ...

    def __exit__(self, *error: object) -> Any:
        """Close the bar."""
        ...


class Lines(Generic[T]):
    """The bar of a file: a line now and then.

    Args:
        iterable: the work's items, if there are any.
        desc: what the work is called.
        total: how many items there are; None if nobody knows.
        unit: of an item.
        initial: how many were done before.
        file: where lines go.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        iterable: Iterable[T] = (),
        desc: str = "",
        total: int | None = None,
        unit: str = "it",
        initial: int = 0,
        file: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.iterable, self.desc, self.unit = iterable, desc, unit
        self.total = len(iterable) if total is None and isinstance(iterable, Sized) else total
        self.n = self.before = initial
        self.numbers: Mapping[str, Any] = {}
        self._file, self._clock = sys.stderr if file is None else file, clock
        self._start = self._last = clock()
        self._wait = FIRST
        self._said = initial
        self._told = False

    def __iter__(self) -> Iterator[T]:
        """The items, counted as they are asked for."""
        try:
            for item in self.iterable:
                yield item
                self.update()
        finally:
            self.close()

    def update(self, n: int = 1) -> None:
        """So many more are done."""
        self.n += n
        if self._clock() - self._last >= self._wait:
            self._tell()
            self._wait = min(2 * self._wait, LONGEST)

    def set_postfix(self, numbers: Mapping[str, Any], refresh: bool = True) -> None:
        """Numbers for the next line."""
        self.numbers = numbers

    def close(self) -> None:
        """The last line, where a line was written before."""
        if self._told and self.n != self._said:
            self._tell()

    def __enter__(self) -> Lines[T]:
        """The bar, which is closed when the block ends."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the bar."""
        self.close()

    def _tell(self) -> None:
        now = self._clock()
        spent, done = now - self._start, self.n - self.before
        count = f"{self.n}" if self.total is None else f"{self.n}/{self.total}"
        left = ""
        if self.total is not None and done > 0 and self.n < self.total:
            left = f", {_clock_time((self.total - self.n) * spent / done)} left"
        numbers = "".join(f", {name} {value}" for name, value in self.numbers.items())
        self._file.write(f"{self.desc}: {count} {self.unit}, {_clock_time(spent)}{left}{numbers}\n")
        self._file.flush()
        self._last, self._told, self._said = now, True, self.n


def progress(
    iterable: Iterable[T] = (),
    desc: str = "",
    *,
    total: int | None = None,
    unit: str = "it",
    initial: int = 0,
    leave: bool = True,
    disable: bool = False,
) -> Any:
    """A bar for work, on a terminal or in a file: see `Bar`.

    Args:
        iterable: the work's items; without any, the work calls `update`.
        desc: what the work is called.
        total: how many items there are; the iterable's length without it.
        unit: of an item.
        initial: how many were done before.
        leave: whether the bar stays on the screen when the work is over.
        disable: show nothing.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if disable or sys.stderr.isatty():
        return tqdm(
            iterable,
            desc,
            total=total,
            unit=unit,
            initial=initial,
            leave=leave,
            disable=disable,
            dynamic_ncols=True,
            mininterval=0.5,
        )
    return Lines(iterable, desc, total, unit, initial)


def _clock_time(seconds: float) -> str:
    """Hours, minutes and seconds, as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
