"""How much time explaining may take: a share of the time the training itself takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FREE = 5.0
"""Seconds of training before a share of them is a limit, and what the first look may take in any case."""

SURCHARGE = 2.5
"""What a look takes over the time of its maps: small networks spend more on drawing."""


class TimeBudget:
    """Says how many images fit into the time allowed, and later whether there is time for all of these again.

    With every second since training began a fraction of a second is earned, and looking at the watched images spends
    it. The first look settles how many images are watched: as many as fit into what has been earned, or into `FREE`
    seconds, since the first time pays for all that is done once; one in any case. After that a look is at all of them
    or none, because means over different images do not compare: what has cost too much, later looks wait for. While the
    training has taken less than `FREE` seconds nothing is limited.

    Args:
        fraction: of the time since training began; None for no such limit.
        seconds: per look; None for no such limit.
        clock: monotonic seconds; a parameter so that tests need not wait.

    Attributes:
        price: seconds that the last look took in all; None before the first.

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
        self.price: float | None = None
        self._cost: float | None = None
        self._began = clock()
        self._spent = self._this_look = self._explaining = 0.0
        self._allowed = float("inf")

    def restart(self) -> None:
        """Begin to earn now (the training has just started)."""
        self._began, self._spent = self.clock(), 0.0

    @property
    def earned(self) -> float:
        """Seconds that looking may take now; infinite without a fraction or in the first seconds of a training."""
        elapsed = self.clock() - self._began
        if self.fraction is None or elapsed - self._spent < FREE:
            return float("inf")
        return self.fraction * elapsed - self._spent

    def affords(self) -> bool:
        """Whether there is time for another look like the last one."""
        return self.price is None or self.price <= self.earned

    def open(self, training: bool = True, settled: bool = False) -> None:
        """Begin a look.

        Args:
            training: outside training there is nothing to take a fraction of.
            settled: it is known what is watched, so nothing is left out.
        """
        self._this_look = self._explaining = 0.0
        self._cost = None
        limits = [self.seconds] if self.seconds is not None and not settled else []
        if training and not settled:
            limits.append(max(self.earned, FREE))
        self._allowed = min(limits, default=float("inf"))

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Time a part of the look."""
        begin = self.clock()
        try:
            yield
        finally:
            self._this_look += self.clock() - begin

    def fits(self, remaining: int) -> int:
        """How many of the remaining images may be explained next: one while the cost of an image is not known."""
        if self._allowed == float("inf"):
            return remaining
        if self._cost is None:
            return min(remaining, 1)
        left = self._allowed / SURCHARGE - self._explaining
        return max(0, min(remaining, int(left / max(self._cost, 1e-9))))

    def explained(self, images: int, seconds: float) -> None:
        """Note what the last images cost."""
        self._cost = seconds / max(images, 1)
        self._explaining += seconds

    def close(self, training: bool = True) -> None:
        """End a look."""
        if training:
            self._spent += self._this_look
            self.price = self._this_look
