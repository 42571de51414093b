"""Means of per-map values, by class and overall, as states that sum over batches and processes.

A localisation metric computes one or more numbers per map; this class only keeps their sums. A number that is not
defined for a map (an empty mask, say) is NaN: it is left out of the sums and counted as skipped.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from hedgeseg.metrics.pairs import check_classes

__all__ = ["LocalisationMetric", "MapMetric", "keep_apart", "ordinary_tensors", "warn_empty"]


@contextmanager
def ordinary_tensors() -> Iterator[None]:
    """Leave inference mode without turning gradients on.

    `trainer.validate` runs in inference mode; a state born there could not be updated in place, reduced or used by
    autograd later. Whatever is computed in this context is an ordinary tensor.
    """
    with torch.inference_mode(False), torch.no_grad():
        yield


def keep_apart(metric: Metric) -> None:
    """Prevent a MetricCollection from merging `metric` with one of other settings.

    A collection merges metrics whose states are equal after the first batch, and two tolerances of the pointing game
    often are; from then on it updates only one of them. NaN equals nothing, not even itself.
    """
    metric.add_state("apart", torch.tensor(torch.nan), dist_reduce_fx="sum")


def warn_empty(metric: Metric, used: int, seen: int = 0) -> None:
    """Warn if `metric` has nothing to average, so that the NaN it returns is not a riddle."""
    if used == 0:
        warnings.warn(
            f"{type(metric).__name__} has no map to average: {seen} were given, all of them without a defined value; "
            "the result is NaN",
            UserWarning,
            stacklevel=3,
        )


class MapMetric(Metric):
    """Mean over maps of the values a subclass computes per map.

    Subclasses list the values in `value_names`, the headline first, and call `add` from `update`.

    Args:
        num_classes: number of classes, for means by class; None keeps one mean over all maps.
        kwargs: torchmetrics' own, for example `dist_sync_on_step`.
    """

    is_differentiable = False
    full_state_update = False
    value_names: ClassVar[tuple[str, ...]] = ()

    total: Tensor
    count: Tensor
    seen: Tensor

    def __init__(self, num_classes: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_classes is not None and num_classes < 1:
            raise ValueError(f"num_classes must be at least 1 or None, got {num_classes}")
        self.num_classes = num_classes
        keep_apart(self)
        shape = (len(self.value_names), num_classes or 1)
        self.add_state("total", torch.zeros(shape), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("seen", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def reset(self) -> None:
        """Forget everything; safe under inference mode."""
        with ordinary_tensors():
            super().reset()

    def add(self, values: Mapping[str, Tensor], classes: Tensor | Sequence[int] | None) -> None:
        """Add per-map values, each `(B,)` with NaN where undefined, to the rows of their classes."""
        table = torch.stack([values[name].to(self.device, self.total.dtype) for name in self.value_names])
        rows = check_classes(classes, table.shape[1], self.num_classes).to(self.device)
        defined = ~table.isnan()
        # A masked sum: index_add has no fixed order on GPUs, and a matmul may run in TF32 or bfloat16.
        belongs = rows[:, None] == torch.arange(self.total.shape[1], device=self.device)
        self.total = self.total + (table.nan_to_num(nan=0.0)[:, :, None] * belongs).sum(1)
        self.count = self.count + (defined[:, :, None] & belongs).sum(1)
        self.seen = self.seen + table.shape[1]

    def overall(self, name: str) -> Tensor:
        """Mean of one value over all maps where it is defined; NaN if there is none."""
        row = self.value_names.index(name)
        return self.total[row].sum() / self.count[row].sum()

    def per_class(self, name: str) -> Tensor:
        """Mean of one value by class, `(num_classes,)`; NaN for a class that did not occur."""
        row = self.value_names.index(name)
        return self.total[row] / self.count[row]

    def class_mean(self, name: str) -> Tensor:
        """Unweighted mean over the classes that occurred."""
        return self.per_class(name).nanmean()

    def compute(self) -> dict[str, Tensor]:
        """Return the means over maps by value name, and for the headline the means by class and the counts.

        Keys: every value name; `<headline>_class_mean`, `<headline>_per_class` (with `num_classes`);
        `<headline>_maps`, `<headline>_skipped`: maps that counted and maps whose headline value is undefined.
        """
        headline = self.value_names[0]
        used = self.count[0].sum()
        warn_empty(self, int(used), int(self.seen))
        result = {name: self.overall(name) for name in self.value_names}
        if self.num_classes is not None:
            result[f"{headline}_class_mean"] = self.class_mean(headline)
            result[f"{headline}_per_class"] = self.per_class(headline)
        result[f"{headline}_maps"] = used.to(self.total.dtype)
        result[f"{headline}_skipped"] = (self.seen - used).to(self.total.dtype)
        return result


class LocalisationMetric(MapMetric):
    """Mean over (image, class) pairs of what a function says about a map and the object it should point at.

    Subclasses replace `score`.
    """

    @staticmethod
    def score(maps: Tensor, masks: Tensor, valid: Tensor | None = None) -> Mapping[str, Tensor]:
        """The values of each pair, `(B,)` by name."""
        raise NotImplementedError

    def update(
        self,
        maps: Tensor,
        masks: Tensor,
        classes: Tensor | Sequence[int] | None = None,
        valid: Tensor | None = None,
    ) -> None:
        """Add a batch of pairs.

        Args:
            maps: float `(B, h, w)` of any range.
            masks: bool `(B, H, W)`.
            classes: int `(B,)`; may be left out with `num_classes=None`.
            valid: bool `(B, H, W)` or None; false pixels are ignored.
        """
        with ordinary_tensors():
            self.add(self.score(maps, masks, valid), classes)
