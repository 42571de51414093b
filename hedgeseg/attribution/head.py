"""The part of a network behind a layer, differentiated for real: run again from the tape under autograd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hedgeseg.attribution.errors import UnsupportedOpError
from hedgeseg.attribution.explaining import full_precision
from hedgeseg.attribution.inputs import check_targets
from hedgeseg.attribution.nodes import Value
from hedgeseg.attribution.recording import Recording
from hedgeseg.attribution.replay import replay
from hedgeseg.attribution.rules.linear import data


def run_head(recording: Recording, given: Mapping[Value, Tensor]) -> Tensor:
    """Logits as a function of the output of one layer or several.

    Args:
        recording: A forward pass.
        given: For each layer a tensor of its shape, float32 or float64; half-precision heads are run in its dtype. A
            layer behind another is what is given for it, and does not depend on the other.

    Returns:
        Logits (N, K), one for each target, differentiable if what is given is.

    Raises:
        LostValueError: If the head reads something besides the layers that was not kept.
    """
    dtype = next(iter(given.values())).dtype
    logits: Tensor = replay(recording.class_logits_value, given, dtype)
    return logits


def head_gradients(recording: Recording, layers: Sequence[Value], targets: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The output of every layer and the gradient of every target's logit with respect to it, past the other layers.

    Args:
        recording: A forward pass.
        layers: The layers' values.
        targets: int64 (N, T).

    Returns:
        For each layer its activation, shaped as its output, and the gradients, (T, *that shape), both float32 (float64
        where the network is); 0 where all that it does for the logits passes another layer.

    Raises:
        TargetError: If a target is not a class of the model.
    """
    check_targets(targets.tolist(), recording.class_logits.shape[1])
    dtype = torch.float64 if layers[0].dtype == torch.float64 else torch.float32
    activations = [data(layer, dtype).detach() for layer in layers]
    with torch.enable_grad(), full_precision(activations[0]):
        leaves = [activation.clone().requires_grad_() for activation in activations]
        # Copies: the head may write into its input, which a leaf does not allow.
        logits = run_head(recording, {v: leaf.clone() for v, leaf in zip(layers, leaves, strict=True)})
        chosen = logits.gather(1, targets).sum(0).unbind()
        rows = [_slopes(y, leaves) for y in chosen]
    gradients = zip(*rows, strict=True) if rows else ((),) * len(layers)
    return [(a, torch.stack(g) if g else a.new_empty(0, *a.shape)) for a, g in zip(activations, gradients, strict=True)]


def _slopes(y: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(y, leaves, retain_graph=True, allow_unused=True) if y.requires_grad else ()
    if all(g is None for g in found):
        raise UnsupportedOpError(
            "no gradient of the logits reaches the layer: an operation behind it has none (detach, rounding, a "
            "comparison). Choose a layer= behind that operation, or a method that starts at the logits"
        )
    return [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(found, leaves, strict=True)]
