"""GradientSHAP: integrated gradients with random points of the path and random noise (Lundberg & Lee 2017; captum).

r = attribute(model, images, targets, method="gradient_shap", n_samples=25, noise=0.1, seed=0)
"""

from __future__ import annotations

import torch
from torch import Tensor

from hedgeseg.attribution.methods.captum_extra import EXTRA, captum_attr, mean_over_noise, sum_of_channels
from hedgeseg.attribution.methods.from_forward import check_positive, logits_of
from hedgeseg.attribution.methods.method import Explanation, Method, Problem


def explain(
    problem: Problem, n_samples: int = 25, noise: float = 0.1, baselines: float = 0.0, seed: int = 0
) -> Explanation:
    """``E[(x - b) * dy_t/dx (b + a (x + e - b))]``, ``a ~ U(0, 1)``, ``e ~ N(0, s^2)``, by captum.

    An estimate of expected gradients, which approximate Shapley values where the model is linear and the features are
    independent (S. Lundberg, S.-I. Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017; G. Erion
    et al., "Improving performance of deep learning models with axiomatic attribution priors", 2021, Eq. 3).

    Args:
        problem: What is to be explained.
        n_samples: Number of draws.
        noise: s, relative to the range of the image's values.
        baselines: Value of all pixels of b, in normalised units: 0 is the mean colour of the training data.
        seed: Of the noise. Every image and target meets the same draws, whatever its batch and device.

    Returns:
        Maps in logits; their sum tends to ``y_t(x) - y_t(b)`` as samples grow and noise vanishes. Positive: the pixel's
        departure from the baseline raised the logit. Cost: `n_samples` forward and backward passes per target, one at a
        time, so that `chunk` changes nothing.

    Raises:
        ValueError: If an option is wrong, or a layer is given.
        ImportError: If captum is not installed.
    """
    check_positive(n_samples=n_samples, noise=noise)
    method = captum_attr("gradient_shap").GradientShap(logits_of(problem))

    def explain_target(image: Tensor, target: int) -> Tensor:
        reference = torch.full_like(image, baselines)

        def at_random(copy: Tensor) -> Tensor:
            return method.attribute(copy, reference, n_samples=1, stdevs=0.0, target=target)

        return mean_over_noise(image, noise, n_samples, seed, at_random)

    return sum_of_channels(problem, "gradient_shap", explain_target, seed)


METHOD = Method(
    "gradient_shap",
    "GradientSHAP (Lundberg & Lee 2017): integrated gradients over random points and noise",
    explain,
    signed=True,
    cost="n_samples (25) forwards and backwards per target",
    extra=EXTRA,
    renamed={"samples": "n_samples", "baseline": "baselines"},
)
