"""What the modules of a network return while it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def listening(model: nn.Module, report: Callable[[str, int, Tensor], None]) -> Iterator[None]:
    """Evaluation mode and hooks, undone at the end: modules that return a tensor report it.

    Args:
        model: whose modules are listened to.
        report: is called with a module's name, the how-manieth of its calls since the block began, from 0, and what it
            returned.
    """
    modes = {module: module.training for module in model.modules()}
    calls: Counter[str] = Counter()
    hooks = []
    for name, module in model.named_modules():

        def hear(module: nn.Module, inputs: object, output: object, name: str = name) -> None:
            if isinstance(output, Tensor):
                report(name, calls[name], output)
            calls[name] += 1

        hooks.append(module.register_forward_hook(hear))
    try:
        model.eval()
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
