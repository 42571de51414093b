"""Memory that one rule uses again for every layer it meets.

A large tensor that is made anew has to be given to the process by the operating system page by page; in networks of
many cheap layers that takes as long as the arithmetic.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hedgeseg.attribution.rules.linear import LinearMap


class Workspace:
    """Scratch tensors by name: what was written under a name is lost when it is asked for again."""

    def __init__(self) -> None:
        self._memory: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    def empty(self, name: str, shape: tuple[int, ...], like: Tensor, linear: LinearMap) -> Tensor:
        """An uninitialised stack of samples.

        Args:
            name: Under which the memory is kept, as large as the largest that was asked for.
            shape: (k, ..., *sample).
            like: Says dtype and device.
            linear: The map that will read it, which chooses the layout.
        """
        size, key = math.prod(shape), (name, like.dtype, like.device)
        memory = self._memory.get(key)
        if memory is None or memory.numel() < size:
            self._memory.pop(key, None)  # before the new one is made
            memory = self._memory[key] = like.new_empty(size)
        return linear.laid_out(memory[:size], shape)
