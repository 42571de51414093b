"""When a training is looked at: in Lightning's own phase, so that intervals of other callbacks meet these looks.

Lightning counts from one: `check_val_every_n_epoch=2` validates and `ModelCheckpoint(every_n_epochs=2)` saves at the
end of the second, fourth, ... epoch. So does this.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm


@dataclass
class Phase:
    """Which validations of a training are looked at, and which of these looks check sanity: the first, and those due.

    Attributes:
        every: epochs between two looks.
        sanity_every: epochs between two sanity checks; None for none at all.
        looked: whether this training has been looked at.
    """

    every: int
    sanity_every: int | None = None
    looked: bool = False

    def check(self, validated_every: int | None, max_epochs: int | None) -> None:
        """Refuse intervals that no validation of the training will ever meet.

        Args:
            validated_every: epochs between two validations; None where they go by steps.
            max_epochs: of the training; None or negative where that is open.

        Raises:
            ValueError: they meet only after the end.
        """
        check_interval("every_n_epochs", self.every, validated_every, max_epochs)
        if self.sanity_every is not None:
            check_interval("sanity_every_n_epochs", self.sanity_every, validated_every, max_epochs)

    def look_due(self, epoch: int) -> bool:
        """Whether to look at a validation in this epoch."""
        return not self.looked or due(epoch, self.every)

    def sanity_due(self, epoch: int) -> bool:
        """Whether to check sanity at a look in this epoch."""
        return self.sanity_every is not None and (not self.looked or due(epoch, self.sanity_every))


def due(epoch: int, every: int) -> bool:
    """Whether a validation in this epoch, counted from 0, is one of those that are looked at.

    >>> [epoch for epoch in range(6) if due(epoch, 2)]
    [1, 3, 5]
    """
    return (epoch + 1) % every == 0


def check_interval(name: str, every: int, validated_every: int | None, max_epochs: int | None) -> None:
    """Refuse an interval that no validation of the training will ever meet.

    An interval longer than the training is no such: its first validation is looked at.

    Args:
        name: of the interval, for the error.
        every: epochs between two looks.
        validated_every: epochs between two validations; None where they go by steps.
        max_epochs: of the training; None or negative where that is open.

    Raises:
        ValueError: they meet only after the end.
    """
    if validated_every is None or max_epochs is None or max_epochs < 0:
        return
    meeting = lcm(every, validated_every)
    if every <= max_epochs < meeting:
        raise ValueError(
            f"{name}={every} and Trainer(check_val_every_n_epoch={validated_every}) meet for the first time in epoch "
            f"{meeting}, after max_epochs={max_epochs}: nothing would be looked at but the first validation, if there "
            f"is one; take a {name} that is a multiple of check_val_every_n_epoch or a divisor of it"
        )


def first_validation(batches: float, check_batch: float, validated_every: int | None) -> float:
    """After how many training batches the first validation comes.

    Args:
        batches: of an epoch; infinite where unknown.
        check_batch: training batches between two validations, inside an epoch or, by steps, over all; infinite for
            the end of the epoch.
        validated_every: epochs between two validations; None where they go by steps.
    """
    if validated_every is None:
        return check_batch
    before = 0.0 if validated_every == 1 else (validated_every - 1) * batches
    return before + min(check_batch, batches)
