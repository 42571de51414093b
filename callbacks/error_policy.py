"""What happens when explaining fails: the training goes on, and its owner is told once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from lightning.pytorch.utilities.rank_zero import rank_zero_warn


class ErrorPolicy:
    """Turns errors into warnings, one per activity and kind of error.

    Args:
        on_error: `"warn"`, or `"raise"` to let errors pass.

    Raises:
        ValueError: another value.
    """

    def __init__(self, on_error: Literal["warn", "raise"]) -> None:
        if on_error not in ("warn", "raise"):
            raise ValueError(f"on_error is 'warn' or 'raise', got {on_error!r}")
        self.on_error = on_error
        self.warned: set[tuple[str, type[Exception]]] = set()
        self._told: set[str] = set()

    @contextmanager
    def __call__(self, activity: str) -> Iterator[None]:
        """Run a block whose failure must not end the training."""
        try:
            yield
        except Exception as error:
            self.note(activity, error)

    def note(self, activity: str, error: Exception) -> None:
        """Tell of an error that has been caught, or raise it.

        Must be called from its handler.
        """
        if self.on_error == "raise":
            raise error
        if (activity, type(error)) not in self.warned:
            self.warned.add((activity, type(error)))
            advice = "; try Trainer(inference_mode=False)" if "nference tensor" in str(error) else ""
            warnings.warn(
                f"HedgeCallback failed at {activity}, training goes on: {type(error).__name__}: {error}{advice}",
                RuntimeWarning,
                stacklevel=3,
            )

    def tell(self, matter: str, text: str) -> None:
        """Warn of something that is no error, once for each matter."""
        if matter not in self._told:
            self._told.add(matter)
            rank_zero_warn(f"HedgeCallback: {text}")
