"""The one interpreter of a tape: what a network would have made of other values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from hedgeseg.attribution.nodes import Op, Value, leading_to

Substitutions = Mapping[Op, Callable[[Tensor], Tensor]]


def replay(
    end: Value,
    start: Mapping[Value, Tensor],
    dtype: torch.dtype,
    substitutions: Substitutions = MappingProxyType({}),
) -> Any:
    """Run again what lies between some values and one that they lead to.

    Args:
        end: What is computed.
        start: What stands for values that lead to it. One that lies behind another is what is given for it, and does
            not depend on the other.
        dtype: For what of the recorded constants and values has half precision.
        substitutions: What is called, with its first input, in place of single operations with one output.

    Returns:
        What stands for `end`; differentiable by `start`, where gradients are on.

    Raises:
        LostValueError: If something is needed that does not depend on `start` and was not kept.
    """
    computed: dict[Value, Any] = dict(start)
    for op in leading_to(end, stops=start):
        if not any(v in computed for v in op.inputs):
            continue
        if op in substitutions:
            outputs: tuple[Any, ...] = (substitutions[op](computed[op.inputs[0]]),)
        else:
            outputs = op.run_on(computed, dtype)
        computed.update({v: y for v, y in zip(op.outputs, outputs, strict=False) if v is not None and v not in start})
    return computed[end]
