"""SmoothGrad: the gradient, averaged over noisy copies of the image (Smilkov et al. 2017).

r = attribute(model, images, targets, method="smooth_grad", nt_samples=25, noise=0.15, seed=0)
"""

from __future__ import annotations

from torch import Tensor

from hedgeseg.attribution.methods.captum_extra import EXTRA, captum_attr, mean_over_noise, sum_of_channels
from hedgeseg.attribution.methods.from_forward import check_positive, logits_of
from hedgeseg.attribution.methods.method import Explanation, Method, Problem


def explain(problem: Problem, nt_samples: int = 25, noise: float = 0.15, seed: int = 0) -> Explanation:
    """``mean_i dy_t/dx (x + e_i)``, ``e_i ~ N(0, s^2)`` with ``s = noise (max x - min x)`` (Sec. 3), by captum.

    Args:
        problem: What is to be explained.
        nt_samples: Number of noisy copies.
        noise: Standard deviation relative to the range of the image's values; the paper advises 0.1 to 0.2.
        seed: Of the noise. Every image and target meets the same draws, whatever its batch and device.

    Returns:
        Maps in logits per unit of the normalised pixel, signed as the gradient is; take the absolute value for the
        pictures of the paper. Cost: `nt_samples` forward and backward passes per target, one at a time, so that `chunk`
        changes nothing.

    Raises:
        ValueError: If an option is wrong, or a layer is given.
        ImportError: If captum is not installed.
    """
    check_positive(nt_samples=nt_samples, noise=noise)
    method = captum_attr("smooth_grad").Saliency(logits_of(problem))

    def explain_target(image: Tensor, target: int) -> Tensor:
        return mean_over_noise(
            image, noise, nt_samples, seed, lambda copy: method.attribute(copy, target=target, abs=False)
        )

    return sum_of_channels(problem, "smooth_grad", explain_target, seed)


METHOD = Method(
    "smooth_grad",
    "SmoothGrad (Smilkov et al. 2017): gradient averaged over noisy copies of the image",
    explain,
    signed=True,
    cost="nt_samples (25) forwards and backwards per target",
    extra=EXTRA,
    renamed={"samples": "nt_samples"},
)
