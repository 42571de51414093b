"""What operations are given besides the values that depend on the images: whether it holds still, and its dtype."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hedgeseg.attribution.errors import ChangedConstantError

_HALF = (torch.float16, torch.bfloat16)


class Constants:
    """The versions of an operation's constants when it ran: a tape refers to them and does not copy them.

    Args:
        tensors: The constants; those of inference mode have no version.
    """

    __slots__ = ("_versions",)

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._versions = [(t, t._version) for t in tensors if not t.is_inference()]

    def check(self, reader: str) -> None:
        """Raise if the model wrote into one of them since.

        Args:
            reader: The operation and where it ran, for the message.

        Raises:
            ChangedConstantError: Names the operation and the shape.
        """
        for tensor, version in self._versions:
            if tensor._version != version:
                raise ChangedConstantError(
                    f"a tensor {tuple(tensor.shape)} that {reader} read was written in place later in the forward "
                    "pass: what it held is gone. Give the operation a copy of it (.clone())"
                )


def constant(argument: Any, dtype: torch.dtype) -> Any:
    """A recorded argument without its history, of half precision in `dtype` instead; dtypes likewise."""
    if isinstance(argument, Tensor):
        argument = argument.detach()
        if argument.is_inference():
            argument = argument.clone()  # autograd can't save a tensor that was born in inference mode
        return argument.to(dtype) if argument.dtype in _HALF else argument
    return dtype if argument in _HALF else argument
