"""Hooks that others hang on a network to watch its training: our forward passes are none of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

WATCHING = ("wandb",)
"""Packages whose forward hooks only watch: `wandb.watch` logs weights at each forward, also those of a copy."""


@contextmanager
def unobserved(network: nn.Module) -> Iterator[None]:
    """Take the forward hooks of `wandb.watch` off for the duration of the block; all others stay, they may compute."""
    taken = []
    for module in network.modules():
        hooks = module._forward_hooks
        if any(_watches(hook) for hook in hooks.values()):
            taken.append((hooks, dict(hooks)))
            for key in [key for key, hook in hooks.items() if _watches(hook)]:
                del hooks[key]
    try:
        yield
    finally:
        for hooks, before in taken:  # whatever the block has hung on it meanwhile stays behind those
            added = {key: hook for key, hook in hooks.items() if key not in before}
            hooks.clear()
            hooks.update({**before, **added})


def _watches(hook: object) -> bool:
    return str(getattr(hook, "__module__", "")).partition(".")[0] in WATCHING
