"""Seeds as detections: COCO's average precision of their regions, as boxes and as masks, by pycocotools.

The regions of a noisy mask number thousands, so they are kept as run lengths and never as full pictures.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hedgeseg.seeds.components import Objects


class DetectionPrecision:
    """Average precision that grows one image at a time."""

    def __init__(self) -> None:
        self._found: list[dict[str, Any]] = []
        self._true: list[dict[str, Any]] = []
        self._images: list[dict[str, int]] = []

    @property
    def images(self) -> int:
        """How many were added."""
        return len(self._images)

    def update(self, found: Objects, true: Objects) -> None:
        """Add the scored regions of one image and its true ones."""
        height, width = true.size
        self._images.append({"id": len(self._images) + 1, "height": height, "width": width})
        self._found += self._annotations(found, len(self._found))
        self._true += self._annotations(true, len(self._true))

    def compute(self) -> dict[str, float]:
        """`map_segm`, `map_segm_50`, `map_bbox` and `map_bbox_50`; NaN where no true region exists."""
        truth, answers = (self._coco(annotations) for annotations in (self._true, self._found))
        values: dict[str, float] = {}
        for kind in ("segm", "bbox"):
            values |= dict(zip((f"map_{kind}", f"map_{kind}_50"), _precision(truth, answers, kind), strict=True))
        return values

    def _annotations(self, objects: Objects, before: int) -> list[dict[str, Any]]:
        kept = []
        rows = zip(
            objects.run_lengths(),
            objects.boxes.tolist(),
            objects.labels.tolist(),
            objects.scores.tolist(),
            (int(part.sum()) for part in objects.parts),
            strict=True,
        )
        for number, (lengths, (x0, y0, x1, y1), label, score, area) in enumerate(rows, start=before + 1):
            where = {"segmentation": lengths, "bbox": [x0, y0, x1 - x0, y1 - y0], "area": area, "iscrowd": 0}
            kept.append({"id": number, "image_id": self.images, "category_id": label, "score": score, **where})
        return kept

    def _coco(self, annotations: list[dict[str, Any]]) -> COCO:
        labels = sorted({item["category_id"] for item in (*self._found, *self._true)})
        coco = COCO()
        coco.dataset = {
            "images": self._images,
            "categories": [{"id": label} for label in labels],
            "annotations": annotations,
        }
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
        return coco


def _precision(truth: COCO, answers: COCO, kind: str) -> tuple[float, float]:
    """Over intersections of .5 to .95, and at .5."""
    if not truth.dataset["annotations"]:
        return float("nan"), float("nan")
    if not answers.dataset["annotations"]:
        return 0.0, 0.0
    evaluation = COCOeval(truth, answers, kind)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    overall, half = (float(value) if value >= 0 else float("nan") for value in evaluation.stats[:2])
    return overall, half
