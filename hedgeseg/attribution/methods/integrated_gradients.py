"""Integrated gradients: the gradient along the straight path from a baseline, times the way (Sundararajan et al. 2017).

r = attribute(model, images, targets, method="integrated_gradients", n_steps=50, baselines=0.0)
"""

from __future__ import annotations

from torch import Tensor

from hedgeseg.attribution.methods.captum_extra import EXTRA, captum_attr, sum_of_channels
from hedgeseg.attribution.methods.from_forward import check_positive, logits_of, rows_at_once
from hedgeseg.attribution.methods.method import Explanation, Method, Problem


def explain(problem: Problem, n_steps: int = 50, baselines: float = 0.0) -> Explanation:
    """``(x - b) * integral_0^1 dy_t/dx (b + a (x - b)) da`` (Eq. 1 of the paper), by captum.

    Args:
        problem: What is to be explained.
        n_steps: Points of the Gauss-Legendre quadrature.
        baselines: Value of all pixels of b, in normalised units: 0 is the mean colour of the training data.

    Returns:
        Maps in logits; up to the quadrature's error they sum to ``y_t(x) - y_t(b)``. Positive: the pixel's departure
        from the baseline raised the logit. Cost: `n_steps` forward and backward passes per target.

    Raises:
        ValueError: If an option is wrong, or a layer is given.
        ImportError: If captum is not installed.
    """
    check_positive(n_steps=n_steps)
    method = captum_attr("integrated_gradients").IntegratedGradients(logits_of(problem))
    rows = rows_at_once(problem)

    def explain_target(image: Tensor, target: int) -> Tensor:
        return method.attribute(image, baselines=baselines, target=target, n_steps=n_steps, internal_batch_size=rows)

    return sum_of_channels(problem, "integrated_gradients", explain_target)


METHOD = Method(
    "integrated_gradients",
    "Integrated gradients (Sundararajan et al. 2017): gradient averaged from a baseline to the image, times the way",
    explain,
    signed=True,
    cost="n_steps (50) forwards and backwards per target",
    extra=EXTRA,
    renamed={"steps": "n_steps", "baseline": "baselines"},
)
