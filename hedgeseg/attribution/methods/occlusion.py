"""Occlusion: how far the logit falls when a window slides over the image (Zeiler & Fergus 2014).

r = attribute(model, images, targets, method="occlusion", window=32, stride=16)
"""

from __future__ import annotations

from torch import Tensor

from hedgeseg.attribution.methods.captum_extra import EXTRA, captum_attr
from hedgeseg.attribution.methods.from_forward import check_positive, explain_each, logits_of, rows_at_once
from hedgeseg.attribution.methods.method import Explanation, Method, Problem


def explain(
    problem: Problem, window: int | None = None, stride: int | None = None, baselines: float = 0.0
) -> Explanation:
    """``mean over windows w that cover the pixel of y_t(x) - y_t(x with w set to b)`` (Sec. 4.2 there), by captum.

    Args:
        problem: What is to be explained.
        window: Side of the window in pixels; default an eighth of the image's shorter side.
        stride: Step between windows in pixels; default half a window.
        baselines: Value b that covers all channels, in normalised units: 0 is the mean colour of the training data.

    Returns:
        Maps in logits, positive where the pixel's surroundings supported the class. Cost: one forward pass per window
        position (225 with the defaults), shared by all targets of an image.

    Raises:
        ValueError: If an option is wrong, or a layer is given.
        ImportError: If captum is not installed.
    """
    space = problem.images.shape[2:]
    side = max(1, min(space) // 8) if window is None else window
    step = max(1, side // 2) if stride is None else stride
    check_positive(window=side, stride=step)
    if side > min(space) or step > side:
        raise ValueError(
            f"window={side}, stride={step}: the window must fit the image {tuple(space)}, and the stride the window"
        )
    attr, forward = captum_attr("occlusion"), logits_of(problem)

    def explain_one(image: Tensor, targets: Tensor) -> Tensor:
        drops = attr.Occlusion(lambda images: forward(images)[:, targets]).attribute(
            image,
            sliding_window_shapes=(image.shape[1], *(side for _ in space)),
            strides=(image.shape[1], *(step for _ in space)),
            baselines=baselines,
            perturbations_per_eval=rows_at_once(problem),
        )
        return drops[:, 0]  # the window covers all channels, which share its value

    return explain_each(problem, "occlusion", explain_one)


METHOD = Method(
    "occlusion",
    "Occlusion (Zeiler & Fergus 2014): fall of the logit when a window covers the pixel",
    explain,
    signed=True,
    cost="1 forward per window position (225), for all targets",
    extra=EXTRA,
    renamed={"baseline": "baselines"},
)
