"""Which modules a recorded forward pass ran, and what they returned."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from hedgeseg.attribution.explaining import hooks
from hedgeseg.attribution.nodes import Value


class Modules:
    """The modules of one recording, by their paths.

    Attributes:
        outputs_of: For each path that ran, what it returned, run by run; None where that was no single tensor.
        module_of: For a value that a module returned, the path of the outermost such module.
    """

    def __init__(self) -> None:
        self.outputs_of: dict[str, list[Value | None]] = {}
        self.module_of: dict[Value, str] = {}
        self._stack: list[str] = []
        self._thread = threading.get_ident()

    @property
    def running(self) -> str:
        """The module whose forward is running, "" for the root."""
        return self._stack[-1] if self._stack else ""

    @contextmanager
    def following(self, model: nn.Module, returned: Callable[[str, Any], None]) -> Iterator[None]:
        """Follow a model by hooks, which are removed at the end.

        Args:
            model: The model that will run.
            returned: Called with a module's path and what it returned.
        """
        handles: list[Any] = []
        with hooks(handles):
            for name, module in model.named_modules():
                path = name.replace("_orig_mod.", "").removesuffix("._orig_mod")
                handles.append(module.register_forward_pre_hook(self._entering(path)))
                handles.append(module.register_forward_hook(self._leaving(path, returned)))
            yield

    def note(self, path: str, value: Value | None) -> int:
        """Note what a module returned; which of its runs it was."""
        runs = self.outputs_of.setdefault(path, [])
        runs.append(value)
        # The outermost of the modules that return it; not one that only hands it on, like a dropout behind it.
        if value is not None and (value not in self.module_of or _inside(self.module_of[value], path)):
            self.module_of[value] = path
        return len(runs) - 1

    def _mine(self) -> bool:
        """Whether a hook was called by the recorded pass: another thread may run the model at the same time."""
        return threading.get_ident() == self._thread

    def _entering(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any) -> None:
            if self._mine():
                self._stack.append(path)

        return hook

    def _leaving(self, path: str, returned: Callable[[str, Any], None]) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if self._mine():
                self._stack.pop()
                returned(path, output)

        return hook


def _inside(path: str, other: str) -> bool:
    """Whether a module path lies inside another."""
    return not other or path.startswith(other + ".")
