"""Deletion and insertion: the target's probability as pixels go or come, most relevant first.

Petsiuk et al., "RISE", BMVC 2018. Deletion replaces pixels of the image by a canvas and should make the probability
fall fast (a small area under the curve); insertion puts them onto a blurred image and should make it rise fast (a
large one).

Both feed the model images it has never seen, and the choice of canvas and of step ranks methods differently: smooth
maps do well, pixel-fine maps make adversarial noise. Never compare across steps or canvases.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from hedgeseg.metrics.canvas import CANVASES, IMAGENET_MEAN, IMAGENET_STD, make_canvas
from hedgeseg.metrics.evaluating import Predict
from hedgeseg.metrics.map_metric import MapMetric, ordinary_tensors
from hedgeseg.metrics.perturbation import check_images, check_targets, reveal

__all__ = ["Deletion", "Insertion", "probability_curves"]

STEPS = 224


def probability_curves(
    predict: Predict,
    images: Tensor,
    maps: Tensor,
    targets: Tensor | Sequence[int],
    change: Literal["deletion", "insertion"],
    canvas: str,
    steps: int = STEPS,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Tensor:
    """Softmax probability of the target after 0, 1, ..., `steps` equal shares of the pixels have changed.

    Args:
        predict: images to logits `(B, K)`; a module is run in eval mode and left as it was.
        images: float `(B, C, H, W)`, normalised as `(rgb - mean) / std`.
        maps: float `(B, h, w)`; resized bilinearly to the images' size if that differs.
        targets: int `(B,)`.
        change: "deletion" puts the canvas over the image, "insertion" the image over the canvas.
        canvas: "vignette", "mean", "black" or "blur".
        steps: number of steps; the model runs `steps + 1` times.
        mean: what the images were normalised with.
        std: likewise.

    Returns:
        float `(B, steps + 1)`.

    Raises:
        TypeError: if a dtype is wrong.
        ValueError: if shapes disagree, a map holds NaN or infinity, or an option is unknown or out of range.
    """
    _validate(canvas, steps)
    maps = check_images(images, maps)
    rows = check_targets(targets, len(images)).to(images.device)
    if not len(images):
        return images.new_zeros(0, steps + 1)
    counts = [maps[0].numel() * step // steps for step in range(steps + 1)]
    with ordinary_tensors():
        filler = make_canvas(canvas, images, mean, std)
    front, back = (filler, images) if change == "deletion" else (images, filler)
    probabilities = reveal(predict, front, back, maps, counts).softmax(2)
    return probabilities.gather(2, rows.expand(len(counts), -1)[:, :, None])[:, :, 0].T


def _validate(canvas: str, steps: int) -> None:
    if canvas not in CANVASES:
        raise ValueError(f"canvas {canvas!r} is unknown; choose one of {', '.join(CANVASES)}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")


class _ProbabilityArea(MapMetric):
    """Mean area under the probability curve; the subclasses say which way pixels change."""

    change: ClassVar[Literal["deletion", "insertion"]]
    _predict: Predict
    curve: Tensor

    def __init__(
        self,
        predict: Predict,
        canvas: str,
        steps: int = STEPS,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, **kwargs)
        _validate(canvas, steps)
        # Around nn.Module's __setattr__: as a submodule the model would enter the metric's state_dict and move with it.
        object.__setattr__(self, "_predict", predict)
        self.canvas, self.steps = canvas, steps
        self.mean, self.std = tuple(mean), tuple(std)
        self.add_state("curve", torch.zeros(steps + 1), dist_reduce_fx="sum")

    def update(self, images: Tensor, maps: Tensor, targets: Tensor | Sequence[int]) -> None:
        """Follow the target's probability for a batch.

        Args:
            images: float `(B, C, H, W)`, normalised.
            maps: float `(B, h, w)` of any range.
            targets: int `(B,)`.
        """
        with ordinary_tensors():
            curves = probability_curves(
                self._predict, images, maps, targets, self.change, self.canvas, self.steps, self.mean, self.std
            )
            self.curve = self.curve + curves.sum(0).to(self.device)
            self.add({self.change: torch.trapezoid(curves, dx=1 / self.steps)}, targets)

    def compute(self) -> dict[str, Tensor]:
        """Return the keys listed in the class's docstring as float tensors."""
        result = super().compute()
        result[f"{self.change}_curve"] = self.curve / self.seen
        return result


class Deletion(_ProbabilityArea):
    """Mean area under the deletion curve; lower is better.

    `compute()` returns `deletion`, `deletion_curve` `(steps + 1,)`, `deletion_maps`, `deletion_skipped` and, with
    `num_classes`, `deletion_class_mean` and `deletion_per_class`.

    Args:
        predict: images to logits `(B, K)`; a module is run in eval mode and left as it was.
        canvas: "mean" as in RISE (0 after normalisation), or "vignette", "black", "blur".
        steps: number of steps, 224 in RISE; the model runs `steps + 1` times per batch.
        mean: what the images were normalised with.
        std: likewise.
        num_classes: number of classes; None for a single mean over maps.
        kwargs: torchmetrics' own.
    """

    higher_is_better = False
    value_names: ClassVar[tuple[str, ...]] = ("deletion",)
    change: ClassVar[Literal["deletion", "insertion"]] = "deletion"

    def __init__(self, predict: Predict, canvas: str = "mean", **kwargs: Any) -> None:
        super().__init__(predict, canvas, **kwargs)


class Insertion(_ProbabilityArea):
    """Mean area under the insertion curve; higher is better.

    `compute()` returns `insertion`, `insertion_curve` `(steps + 1,)`, `insertion_maps`, `insertion_skipped` and, with
    `num_classes`, `insertion_class_mean` and `insertion_per_class`.

    Args:
        predict: images to logits `(B, K)`; a module is run in eval mode and left as it was.
        canvas: "blur" as in RISE, or "vignette", "mean", "black".
        steps: number of steps, 224 in RISE; the model runs `steps + 1` times per batch.
        mean: what the images were normalised with.
        std: likewise.
        num_classes: number of classes; None for a single mean over maps.
        kwargs: torchmetrics' own.
    """

    higher_is_better = True
    value_names: ClassVar[tuple[str, ...]] = ("insertion",)
    change: ClassVar[Literal["deletion", "insertion"]] = "insertion"

    def __init__(self, predict: Predict, canvas: str = "blur", **kwargs: Any) -> None:
        super().__init__(predict, canvas, **kwargs)
