"""Grad-CAM++: channels weighted by their positive gradients, higher where those are rare (Chattopadhay et al. 2018).

r = attribute(model, images, targets, method="grad_cam_plus_plus")
"""

from __future__ import annotations

from torch import Tensor

from hedgeseg.attribution.methods.from_layer import projected, record_to_layers
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.rule import RuleBook


def explain(problem: Problem) -> Explanation:
    """Grad-CAM++ (Eq. 19 with the exponential left out, which only scales a map).

    Args:
        problem: What is to be explained; its layer is chosen as for ``hedge``.

    Returns:
        Maps >= 0, in units of the activation: what lowers the logit is left out. Of several layers the maps add up.
        Cost: one forward pass.
    """
    layers = record_to_layers(problem, RuleBook("grad_cam_plus_plus", {}))
    maps = [
        (pixel_weights(layer.activation, layer.gradients) * layer.activation).sum(2).clamp(min=0)
        for layer in layers.maps
    ]
    return Explanation(projected(layers, maps, "grad_cam_plus_plus"), layers.recording.logits, layers.name)


def pixel_weights(activation: Tensor, gradients: Tensor) -> Tensor:
    """``w_c = sum_i a_ci max(g_ci, 0)`` with ``a = g^2 / (2 g^2 + g^3 sum_i A_ci)``.

    The common factor ``g^2`` is cancelled, so that small gradients keep their weight.

    Args:
        activation: (N, C, *space).
        gradients: (T, N, C, *space).

    Returns:
        (T, N, C, 1, ...).
    """
    space = tuple(range(2, activation.ndim))
    total = activation.sum(space, keepdim=True)
    positive = gradients.clamp(min=0)
    return safe_divide(positive, 2 + total * positive).sum(tuple(d + 1 for d in space), keepdim=True)


METHOD = Method(
    "grad_cam_plus_plus",
    "Grad-CAM++ (Chattopadhay et al. 2018): feature map weighted by positive gradients, resized",
    explain,
    signed=False,
)
