"""Values of options that several commands share."""

from __future__ import annotations


def number_or_name(given: str) -> float | str:
    """A number if it is one, else the name as it is."""
    try:
        return float(given)
    except ValueError:
        return given
