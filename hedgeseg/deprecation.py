"""Names that were given up: they work for one version more, and say what to write instead."""

import importlib
import warnings
from collections.abc import Callable
from typing import Any


def warn_renamed(old: str, new: str, stacklevel: int = 3) -> None:
    """Warn that a name goes.

    Args:
        old: the name that was used.
        new: what to write instead.
        stacklevel: of the warning, counted from here; 3 is whoever called the caller.
    """
    warnings.warn(f"{old} is now {new}; the old name goes with the next version", FutureWarning, stacklevel=stacklevel)


def renamed_module(old: str, new: str, **names: str) -> Callable[[str], Any]:
    """A module's `__getattr__` for one that has moved.

    Args:
        old: name of the module that asks.
        new: the module that everything is in now.
        names: of what is called otherwise there, by the old name.

    Example:
        >>> find = renamed_module("shapes.square_root", "math", root="sqrt")
        >>> with warnings.catch_warnings(action="ignore"):
        ...     find("root")(9.0)
        3.0
    """

    def find(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {old!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(new), names.get(name, name))
        warn_renamed(f"{old}.{name}", f"{new}.{names.get(name, name)}")
        return value

    return find
