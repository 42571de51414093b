"""What an operation is given besides the values that depend on the images, when it is run again under autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_HALF = (torch.float16, torch.bfloat16)


def constant(argument: Any, dtype: torch.dtype) -> Any:
    """A recorded argument without its history, of half precision in `dtype` instead; dtypes likewise."""
    if isinstance(argument, Tensor):
        argument = argument.detach()
        if argument.is_inference():
            argument = argument.clone()  # autograd can't save a tensor that was born in inference mode
        return argument.to(dtype) if argument.dtype in _HALF else argument
    return dtype if argument in _HALF else argument
