"""Settings in words that JSON holds and that are the same in every run: for the hash of a folder's settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any


def described(value: Any) -> Any:
    """The value as JSON: functions by their qualified name, settings objects by their class and fields.

    Two settings that differ must not be described alike, so an object that says nothing of itself but its address in
    memory is described by its class and `vars`.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): described(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [described(item) for item in value]
    if isinstance(value, partial):
        bound = {str(i): described(a) for i, a in enumerate(value.args)} | described(value.keywords)
        return {"call": described(value.func), **bound}
    name = getattr(value, "__qualname__", None)
    if name is not None:
        return f"{value.__module__}.{name}"
    kind = type(value)
    return {"type": f"{kind.__module__}.{kind.__qualname__}", **described(vars(value))}
