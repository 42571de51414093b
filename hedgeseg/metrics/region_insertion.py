"""Region insertion: how few of the most relevant pixels does the model need?

Section 5.3.2 of the paper: for p = 1 ... 20 %, the top `floor(p N)` pixels by relevance (most relevant first, MoRF) are
pasted onto a canvas and classified; the curve is the accuracy over p, and its mean is the score.

The paper's canvas is a grey Gaussian spot. It is bright at the centre and so helps maps that point there; other
canvases rank methods differently. Read the score beside the accuracy of the bare canvas, and beside the `center` and
`random` maps.

Accuracy says whether the target is the *strongest* class. With few classes, or ImageNet's grouped into few, the canvas
alone has a strongest class, which a fifth of the pixels may not overrule: then every method scores the same, and the
target's probability, taken in the same forwards, still tells them apart. Of an image with several labels one class at
most is the strongest, so the accuracy of the whole image is the ceiling.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from hedgeseg.metrics.canvas import CANVASES, IMAGENET_MEAN, IMAGENET_STD, make_canvas
from hedgeseg.metrics.evaluating import Predict
from hedgeseg.metrics.map_metric import keep_apart, ordinary_tensors, warn_empty
from hedgeseg.metrics.perturbation import check_images, check_targets, reveal

__all__ = ["RegionInsertion", "inserted_answers", "region_insertions"]

FRACTIONS = tuple(percent / 100 for percent in range(1, 21))


def region_insertions(
    predict: Predict,
    images: Tensor,
    maps: Tensor,
    targets: Tensor | Sequence[int],
    fractions: Sequence[float] = FRACTIONS,
    canvas: str = "vignette",
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Tensor:
    """Whether the strongest class is the target, for each share of inserted pixels.

    Args:
        predict: images to logits `(B, K)`; a module is run in eval mode and left as it was.
        images: float `(B, C, H, W)`, normalised as `(rgb - mean) / std`.
        maps: float `(B, h, w)`; resized bilinearly to the images' size if that differs.
        targets: int `(B,)`, the class that counts as correct.
        fractions: shares of inserted pixels, each in [0, 1]; 0 is the bare canvas, 1 the clean image.
        canvas: "vignette" (the paper's), "mean", "black" or "blur".
        mean: what the images were normalised with.
        std: likewise.

    Returns:
        bool `(len(fractions), B)`.

    Raises:
        TypeError: if a dtype is wrong.
        ValueError: if shapes disagree, a map holds NaN or infinity, or an option is unknown or out of range.
    """
    return inserted_answers(predict, images, maps, targets, fractions, canvas, mean, std)[0]


def inserted_answers(
    predict: Predict,
    images: Tensor,
    maps: Tensor,
    targets: Tensor | Sequence[int],
    fractions: Sequence[float] = FRACTIONS,
    canvas: str = "vignette",
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> tuple[Tensor, Tensor]:
    """What `region_insertions` returns, and the softmax probability of the target beside it.

    Returns:
        bool `(len(fractions), B)` and float `(len(fractions), B)`.
    """
    _validate(fractions, canvas)
    maps = check_images(images, maps)
    rows = check_targets(targets, len(images)).to(images.device)
    # Not int(fraction * pixels): 0.29 * 100 is 28.999999999999996.
    counts = [int(fraction * maps[0].numel() + 1e-6) for fraction in fractions] if len(maps) else []
    if not counts:
        nothing = images.new_zeros(len(fractions), len(maps))
        return nothing.bool(), nothing
    with ordinary_tensors():
        back = make_canvas(canvas, images, mean, std)
    logits = reveal(predict, images, back, maps, counts)
    probabilities = logits.softmax(2).gather(2, rows.expand(len(counts), -1)[:, :, None])[:, :, 0]
    return logits.argmax(2) == rows, probabilities


def _validate(fractions: Sequence[float], canvas: str) -> None:
    if not fractions or not all(0 <= fraction <= 1 for fraction in fractions):
        raise ValueError(f"fractions must be shares in [0, 1], at least one, got {tuple(fractions)}")
    if canvas not in CANVASES:
        raise ValueError(f"canvas {canvas!r} is unknown; choose one of {', '.join(CANVASES)}")


class RegionInsertion(Metric):
    """Accuracy of a model that sees only the most relevant pixels.

    `compute()` returns `region_insertion` (mean accuracy over the fractions), `region_insertion_curve` and
    `region_insertion_fractions` (one value per fraction), `region_insertion_relative` (the mean divided by the clean
    accuracy, the paper's third graph), `region_insertion_clean`, `region_insertion_canvas` (accuracy on the bare
    canvas, what the score is worth without any map), `region_insertion_probability` and
    `region_insertion_probability_curve` (the same of the target's softmax probability) and `region_insertion_maps`.

    Args:
        predict: images to logits `(B, K)`; a module is run in eval mode and left as it was.
        canvas: "vignette" (the paper's), "mean", "black" or "blur".
        fractions: shares of inserted pixels, 1 % to 20 % in the paper.
        mean: what the images were normalised with.
        std: likewise.
        kwargs: torchmetrics' own.

    Raises:
        ValueError: if an option is unknown or out of range.

    Example:
        >>> import torch
        >>> brightness = lambda images: torch.stack([0.9 - images.mean((1, 2, 3)), images.mean((1, 2, 3))], 1)
        >>> metric = RegionInsertion(brightness, canvas="black", fractions=(0.25, 0.75), mean=(0.0,), std=(1.0,))
        >>> metric.update(torch.ones(1, 1, 4, 4), torch.rand(1, 4, 4), torch.tensor([1]))
        >>> metric.compute()["region_insertion_curve"]
        tensor([0., 1.])
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    _predict: Predict
    correct: Tensor
    probability: Tensor
    seen: Tensor

    def __init__(
        self,
        predict: Predict,
        canvas: str = "vignette",
        fractions: Sequence[float] = FRACTIONS,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _validate(fractions, canvas)
        # Around nn.Module's __setattr__: as a submodule the model would enter the metric's state_dict and move with it.
        object.__setattr__(self, "_predict", predict)
        keep_apart(self)
        self.canvas, self.fractions = canvas, tuple(fractions)
        self.mean, self.std = tuple(mean), tuple(std)
        self.add_state("correct", torch.zeros(len(fractions) + 2, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("probability", torch.zeros(len(fractions)), dist_reduce_fx="sum")
        self.add_state("seen", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def reset(self) -> None:
        """Forget everything; safe under inference mode."""
        with ordinary_tensors():
            super().reset()

    def update(self, images: Tensor, maps: Tensor, targets: Tensor | Sequence[int]) -> None:
        """Classify a batch at every fraction, and once clean and once as the bare canvas.

        Args:
            images: float `(B, C, H, W)`, normalised.
            maps: float `(B, h, w)` of any range.
            targets: int `(B,)`.
        """
        with ordinary_tensors():
            fractions = (*self.fractions, 1.0, 0.0)
            hits, probabilities = inserted_answers(
                self._predict, images, maps, targets, fractions, self.canvas, self.mean, self.std
            )
            self.correct = self.correct + hits.sum(1).to(self.device)
            self.probability = self.probability + probabilities[:-2].sum(1).to(self.device)
            self.seen = self.seen + len(images)

    def compute(self) -> dict[str, Tensor]:
        """Return the keys listed in the class's docstring as float tensors."""
        warn_empty(self, int(self.seen))
        accuracy = self.correct / self.seen
        curve, clean, canvas = accuracy[:-2], accuracy[-2], accuracy[-1]
        return {
            "region_insertion": curve.mean(),
            "region_insertion_curve": curve,
            "region_insertion_fractions": torch.tensor(self.fractions, device=self.device),
            "region_insertion_relative": curve.mean() / clean,
            "region_insertion_clean": clean,
            "region_insertion_canvas": canvas,
            "region_insertion_probability": self.probability.mean() / self.seen,
            "region_insertion_probability_curve": self.probability / self.seen,
            "region_insertion_maps": self.seen.to(accuracy.dtype),
        }
