"""How much time explaining may take: a share of the time the training itself takes."""

from __future__ import annotations

import time
from collections.abc import Callable

FREE = 5.0
"""Seconds of training before a share of them is a limit."""


class TimeBudget:
    """Says how many more images fit into the time allowed.

    With every second since training began a fraction of a second is earned, and looking at the watched images spends
    it. What the first look costs too much, because it pays for all that is done for the first time, later looks save;
    what is not spent is there for later. One image is explained in any case, and all while the training has taken less
    than `FREE` seconds: a share of so little would explain nothing. The cost of an image is measured as it goes; the
    share that drawing and logging add on top is taken from the look before.

    Args:
        fraction: of the time since training began; None for no such limit.
        seconds: per look; None for no such limit.
        clock: monotonic seconds; a parameter so that tests need not wait.

    Raises:
        ValueError: a fraction outside (0, 1], or seconds that are not positive.
    """

    def __init__(
        self,
        fraction: float | None,
        seconds: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if fraction is not None and not 0 < fraction <= 1:
            raise ValueError(f"max_fraction must be in (0, 1] or None, got {fraction}")
        if seconds is not None and seconds <= 0:
            raise ValueError(f"max_seconds_per_epoch must be positive or None, got {seconds}")
        self.fraction, self.seconds, self.clock = fraction, seconds, clock
        self.cost: float | None = None
        self.surcharge = 2.5  # before the first look: small networks spend more on drawing than on maps
        self._began = clock()
        self._spent = self._opened = self._explaining = 0.0
        self._allowed = float("inf")

    def restart(self) -> None:
        """Begin to earn now (the training has just started)."""
        self._began, self._spent = self.clock(), 0.0

    def open(self, training: bool = True) -> None:
        """Begin a look. Outside training there is nothing to take a fraction of."""
        self._opened = self.clock()
        limits = [self.seconds] if self.seconds is not None else []
        trained = self._opened - self._began - self._spent
        if training and self.fraction is not None and trained >= FREE:
            limits.append(self.fraction * (self._opened - self._began) - self._spent)
        self._allowed = min(limits, default=float("inf"))
        self._explaining = 0.0

    def fits(self, remaining: int) -> int:
        """How many of the remaining images may be explained next: one while the cost of an image is not known."""
        left = self._allowed / self.surcharge - self._explaining
        if left == float("inf"):
            return remaining
        if self.cost is None:
            return min(remaining, 1)
        return max(0, min(remaining, int(left / max(self.cost, 1e-9))))

    def explained(self, images: int, seconds: float) -> None:
        """Note what the last images cost."""
        self.cost = seconds / max(images, 1)
        self._explaining += seconds

    def close(self) -> float:
        """End a look; returns the seconds it took in all."""
        spent = self.clock() - self._opened
        self._spent += spent
        if self._explaining > 0:
            self.surcharge = min(max(spent / self._explaining, 1.0), 10.0)
        return spent
