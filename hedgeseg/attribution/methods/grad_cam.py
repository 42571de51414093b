"""Grad-CAM: the gradient-weighted feature map of a layer, summed over channels and resized (Selvaraju et al. 2017).

r = attribute(model, images, targets, method="grad_cam", relu_attributions=False)
"""

from __future__ import annotations

from hedgeseg.attribution.methods.from_layer import channel_weights, projected, record_to_layers
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.rules.rule import RuleBook


def explain(problem: Problem, relu_attributions: bool = False) -> Explanation:
    """Grad-CAM (Eq. 1-2 of the paper): ``sum_c mean(dy/dx_c) x_c``.

    Args:
        problem: What is to be explained.
        relu_attributions: Whether to drop negative values before resizing, as the paper does. Off by default, so
            that the map shows evidence against the class too.

    Returns:
        Maps in units of the logit per position: positive where features that raise the logit are active, negative
        where those that lower it are. Of several layers the maps add up. Cost: one forward pass.
    """
    layers = record_to_layers(problem, RuleBook("grad_cam", {}))
    maps = [(channel_weights(layer.gradients) * layer.activation).sum(2) for layer in layers.maps]
    if relu_attributions:
        maps = [m.clamp(min=0) for m in maps]
    return Explanation(projected(layers, maps, "grad_cam"), layers.recording.logits, layers.name)


METHOD = Method(
    "grad_cam",
    "Grad-CAM (Selvaraju et al. 2017): gradient-weighted feature map, resized",
    explain,
    True,
    renamed={"relu": "relu_attributions"},
)
