"""DeepLIFT: differences from a reference, split by the rescale rule (Shrikumar et al. 2017).

r = attribute(model, images, targets, method="deep_lift", baselines=0.0)
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from hedgeseg.attribution.methods.captum_extra import EXTRA, captum_attr
from hedgeseg.attribution.methods.from_forward import explain_each
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.methods.replay import Replay
from hedgeseg.attribution.nodes import Keeps
from hedgeseg.attribution.recording import record


def explain(problem: Problem, baselines: float = 0.0) -> Explanation:
    """``(x - b) * m`` with the multipliers of the rescale rule (Eq. 3, 5 and 12 of the paper), by captum.

    captum hooks modules, and so fails on activations that are reused, in place or functional, and loses relevance where
    max-pooling windows overlap: all of that happens in a ResNet. It is therefore given a replay of the recorded forward
    pass, in which every activation is a module of its own (see `Replay`); the model is not touched.

    Args:
        problem: What is to be explained.
        baselines: Value of all pixels of the reference b, in normalised units: 0 is the training data's mean colour.

    Returns:
        Maps in logits that sum to ``y_t(x) - y_t(b)``. Positive: the pixel's departure from the reference raised the
        logit. Cost: one forward pass of the image and its reference, and as much again with a backward pass per target.

    Raises:
        UnsupportedOpError: If the model has an operation without a rescale rule, such as a product of two activations.
        ValueError: If a layer is given.
        ImportError: If captum is not installed.
    """
    attr = captum_attr("deep_lift")

    def explain_one(image: Tensor, targets: Tensor) -> Tensor:
        image = image.to(problem.dtype)
        reference = torch.full_like(image, baselines)
        pair = torch.cat([image, reference]).to(problem.images.dtype)
        recording = record(
            problem.model,
            pair,
            lambda op: Keeps(),
            output=problem.output,
            binary=problem.binary,
            apart=False,
        )
        rows = []
        for target in targets.tolist():
            method = attr.DeepLift(Replay(recording, problem.dtype))
            leaf = image.clone().requires_grad_()
            with torch.enable_grad(), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Setting forward, backward hooks")
                rows.append(method.attribute(leaf, reference, target=target).detach()[0].sum(0))
        return torch.stack(rows)

    return explain_each(problem, "deep_lift", explain_one)


METHOD = Method(
    "deep_lift",
    "DeepLIFT (Shrikumar et al. 2017): difference from a reference, split by the rescale rule",
    explain,
    signed=True,
    cost="2 forwards, then 2 forwards and backwards per target",
    extra=EXTRA,
    renamed={"baseline": "baselines"},
)
