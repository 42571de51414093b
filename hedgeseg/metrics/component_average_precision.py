"""Detection average precision of the objects a map proposes, by torchmetrics' COCO evaluation.

The connected components of each class's map (see `components.py`) are the detections of that class; boxes and masks are
matched with the annotated objects. It asks much of a map: one component per object, of the object's full extent.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from hedgeseg.metrics.components import map_components
from hedgeseg.metrics.map_metric import ordinary_tensors, warn_empty
from hedgeseg.metrics.pairs import check_classes

__all__ = ["ComponentAveragePrecision"]

HEADLINE = "component_average_precision"


class ComponentAveragePrecision(MeanAveragePrecision):
    """Class-wise mean average precision of the components of maps as boxes and, where masks are given, as masks.

    `compute()` returns `component_average_precision` (average precision at the lowest IoU threshold 0.5, of masks if
    they are evaluated, else of boxes) and torchmetrics' figures as `component_average_precision_<bbox|segm>_<figure>`
    with figures `map`, `map_50`, `map_75`, `mar_100`, `map_per_class` and so on;
    `component_average_precision_classes` lists the classes of the per-class figures. A figure that COCO's code
    reports as -1 (nothing to evaluate) is NaN.

    Unlike the other metrics it keeps all detections, not sums; they are gathered from all processes at `compute`.

    Args:
        num_classes: number of classes, for checking; None for any.
        threshold: share of a map's maximum above which a pixel belongs to an object.
        min_area: components of fewer pixels are dropped.
        masks: whether to evaluate masks too; then every target needs them.
        kwargs: torchmetrics' MeanAveragePrecision's own, for example `max_detection_thresholds`.

    Raises:
        ModuleNotFoundError: without torchmetrics[detection].
    """

    def __init__(
        self,
        num_classes: int | None = None,
        threshold: float = 0.2,
        min_area: int = 1,
        masks: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(iou_type=("bbox", "segm") if masks else ("bbox",), class_metrics=True, **kwargs)
        self.num_classes, self.threshold, self.min_area = num_classes, threshold, min_area
        self.warn_on_many_detections = False

    def update(  # type: ignore[override]  # it takes maps, and hands the detections made of them to the parent
        self,
        maps: Tensor,
        classes: Tensor | Sequence[int],
        target: Mapping[str, Tensor],
        scores: Tensor | None = None,
    ) -> None:
        """Add one image.

        Args:
            maps: float `(T, H, W)`, one map per class of the image.
            classes: int `(T,)`.
            target: the annotated objects: `boxes` float `(n, 4)` xyxy in pixels of the maps, `labels` int `(n,)`
                class indices, and `masks` bool `(n, H, W)` if masks are evaluated; optionally `iscrowd` and `area` as
                in COCO.
            scores: float `(T,)`, how sure the model is of each class; multiplies the scores of its components.

        Raises:
            ValueError: if shapes disagree, a class is out of range, a map holds NaN or infinity, or masks are missing.
        """
        if "segm" in self.iou_type and "masks" not in target:
            raise ValueError("target has no masks; give one bool mask (H, W) per object or construct with masks=False")
        rows = torch.as_tensor(classes).detach().cpu()
        check_classes(rows, len(maps), self.num_classes or max([0, *rows.tolist()]) + 1)
        with ordinary_tensors():
            found = [map_components(saliency, self.threshold, self.min_area) for saliency in maps.detach()]
            sure = torch.ones(len(maps)) if scores is None else scores.detach().float().cpu()
            counts = torch.tensor([len(part.scores) for part in found], dtype=torch.int64)
            nothing = torch.zeros(0, 4), torch.zeros(0, *maps.shape[1:], dtype=torch.bool), torch.zeros(0)
            parts = [(part.boxes.cpu(), part.masks.cpu(), part.scores.cpu()) for part in found]
            boxes, shapes, peaks = (torch.cat(column) for column in zip(nothing, *parts, strict=True))
            detections = {
                "boxes": boxes,
                "masks": shapes,
                "scores": peaks * sure.repeat_interleave(counts),
                "labels": rows.repeat_interleave(counts),
            }
            truth = {key: value.detach().cpu().clone() for key, value in target.items()}
            super().update([detections], [truth])

    def reset(self) -> None:
        """Forget everything; safe under inference mode."""
        with ordinary_tensors():
            super().reset()

    def _sync_dist(self, dist_sync_fn: Callable[..., Any] | None = None, process_group: Any | None = None) -> None:
        # torchmetrics gathers these lists image by image and would hang or abort where processes saw different numbers.
        group = process_group or self.process_group
        for state in self._reductions:
            gathered: list[list[Any]] = [[] for _ in range(dist.get_world_size(group))]
            dist.all_gather_object(gathered, getattr(self, state), group=group)
            setattr(self, state, [entry for part in gathered for entry in part])

    def compute(self) -> dict[str, Tensor]:
        """Return the keys listed in the class's docstring as float tensors."""
        warn_empty(self, len(self.groundtruth_labels))
        result: dict[str, Tensor] = {}
        for key, value in super().compute().items():
            # With a single kind torchmetrics leaves the prefix out.
            name = key if key == "classes" or key.startswith(("bbox_", "segm_")) else f"bbox_{key}"
            result[f"{HEADLINE}_{name}"] = value.float().masked_fill(value < 0, torch.nan)
        return {HEADLINE: result[f"{HEADLINE}_{self.iou_type[-1]}_map_50"], **result}
