"""What happens when looking fails: the training goes on, and its owner is told once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal


class Tolerance:
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

    @contextmanager
    def __call__(self, activity: str) -> Iterator[None]:
        """Run a block whose failure must not end the training."""
        try:
            yield
        except Exception as error:
            if self.on_error == "raise":
                raise
            if (activity, type(error)) not in self.warned:
                self.warned.add((activity, type(error)))
                advice = "; try Trainer(inference_mode=False)" if "nference tensor" in str(error) else ""
                warnings.warn(
                    f"HedgeCallback failed at {activity}, training goes on: {type(error).__name__}: {error}{advice}",
                    RuntimeWarning,
                    stacklevel=2,
                )
