"""Grad-CAM: the gradient-weighted feature map of a layer, summed over channels and resized (Selvaraju et al. 2017).

r = attribute(model, images, targets, method="grad_cam", relu=False)
"""

from __future__ import annotations

from hedgeseg.attribution.methods.from_layer import channel_weights, record_to_layer, resize
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.sweep import RuleBook


def explain(problem: Problem, relu: bool = False) -> Explanation:
    """Grad-CAM (Eq. 1-2 of the paper): ``sum_c mean(dy/dx_c) x_c``.

    Args:
        problem: What is to be explained.
        relu: Whether to drop negative values before resizing, as the paper does. Off by default, so that the map
            shows evidence against the class too.

    Returns:
        Maps in units of the logit per position: positive where features that raise the logit are active, negative
        where those that lower it are. Cost: one forward pass.
    """
    layer = record_to_layer(problem, RuleBook("grad_cam", {}))
    maps = (channel_weights(layer.gradients) * layer.activation).sum(2)
    if relu:
        maps = maps.clamp(min=0)
    return Explanation(resize(maps, problem.images.shape[2:]), layer.recording.logits, layer.name)


METHOD = Method("grad_cam", "Grad-CAM (Selvaraju et al. 2017): gradient-weighted feature map, resized", explain, True)
