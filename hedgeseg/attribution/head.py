"""The part of a network behind a layer, differentiated for real: run again from the tape under autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hedgeseg.attribution.constant import constant
from hedgeseg.attribution.explaining import full_precision
from hedgeseg.attribution.inputs import check_targets
from hedgeseg.attribution.recording import Recording
from hedgeseg.attribution.rules.linear import data
from hedgeseg.attribution.tape import Value


class LostValueError(RuntimeError):
    """A tensor that the head needs was not kept; record again with the layer's name in `wanted`."""


def run_head(recording: Recording, layer: Value, activation: Tensor) -> Tensor:
    """Logits as a function of a layer's output.

    Args:
        recording: A forward pass.
        layer: The value that `activation` stands for.
        activation: Tensor shaped like `layer`, float32 or float64; half-precision heads are run in its dtype.

    Returns:
        Logits (N, K), one for each target, differentiable if `activation` is.

    Raises:
        LostValueError: If the head reads something besides the layer that was not kept.
    """
    computed: dict[Value, Any] = {layer: activation}

    def lookup(argument: Any) -> Any:
        if isinstance(argument, Value):
            if argument in computed:
                return computed[argument]
            if argument.data is None:
                raise LostValueError(f"a tensor {tuple(argument.shape)} beside the layer is needed and was not kept")
            argument = argument.data
        return constant(argument, activation.dtype)

    for op in recording.tape.ops[layer.order + 1 :]:
        if any(v in computed for v in op.inputs):
            outputs = op.run(lookup)
            computed.update({v: y for v, y in zip(op.outputs, outputs, strict=False) if v is not None})
    return computed[recording.class_logits_value]


def head_gradients(recording: Recording, layer: Value, targets: Tensor) -> tuple[Tensor, Tensor]:
    """A layer's output and the gradient of every target's logit with respect to it.

    Args:
        recording: A forward pass.
        layer: The layer's value.
        targets: int64 (N, T).

    Returns:
        The activation, shaped as the layer's output, and the gradients, (T, *that shape), both float32 (float64 where
        the network is).

    Raises:
        TargetError: If a target is not a class of the model.
    """
    check_targets(targets.tolist(), recording.class_logits.shape[1])
    dtype = torch.float64 if layer.dtype == torch.float64 else torch.float32
    activation = data(layer, dtype).detach()
    with torch.enable_grad(), full_precision(activation):
        leaf = activation.clone().requires_grad_()
        # A copy: the head may write into its input, which a leaf does not allow.
        logits = run_head(recording, layer, leaf.clone())
        chosen = logits.gather(1, targets).sum(0).unbind()
        rows = [torch.autograd.grad(y, leaf, retain_graph=True)[0] for y in chosen]
    return activation, torch.stack(rows) if rows else activation.new_empty(0, *activation.shape)
