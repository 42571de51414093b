"""How much time explaining may take: a share of the time the training itself takes."""

from __future__ import annotations

import time
from collections.abc import Callable


class TimeBudget:
    """Says how many more images fit into the time allowed.

    An allowance opens with each look at the watched images: a fraction of the time since the last one, but never below
    `floor`, because two per cent of a five-second epoch would explain nothing. The first look, which pays for all that
    is done for the first time, has five times the floor. The cost of an image is measured as it goes; the share that
    drawing and logging add on top is taken from the look before.

    Args:
        fraction: of the time since the last look; None for no such limit.
        seconds: per look; None for no such limit.
        floor: seconds that are always allowed by `fraction`.
        clock: monotonic seconds; a parameter so that tests need not wait.
    """

    floor_seconds = 1.0

    def __init__(
        self,
        fraction: float | None,
        seconds: float | None,
        floor: float = floor_seconds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if fraction is not None and not 0 < fraction <= 1:
            raise ValueError(f"max_fraction must be in (0, 1] or None, got {fraction}")
        if seconds is not None and seconds <= 0:
            raise ValueError(f"max_seconds_per_epoch must be positive or None, got {seconds}")
        self.fraction, self.seconds, self.floor, self.clock = fraction, seconds, floor, clock
        self.cost: float | None = None
        self.surcharge = 1.5
        self._looked = False
        self._last_look = clock()
        self._opened = self._explaining = 0.0
        self._allowed = float("inf")

    def restart(self) -> None:
        """Begin counting the time since the last look now (the training has just started)."""
        self._last_look = self.clock()

    def open(self, training: bool = True) -> None:
        """Begin a look. Outside training there is no epoch to take a fraction of."""
        self._opened = self.clock()
        limits = [self.seconds] if self.seconds is not None else []
        if training and self.fraction is not None:
            floor = self.floor if self._looked else 5 * self.floor
            limits.append(max(floor, self.fraction * (self._opened - self._last_look)))
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
        self._looked = True
        self._last_look = self.clock()
        spent = self._last_look - self._opened
        if self._explaining > 0:
            self.surcharge = min(max(spent / self._explaining, 1.0), 10.0)
        return spent
