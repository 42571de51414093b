"""Metrics that no map has alone: of every image a note is kept, and numbers are computed of all notes together.

A note is plain lists and numbers, one line of a journal holds it. Adding a metric is a class here and its name in
`POOLED`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from hedgeseg.connected_regions import connected_regions
from hedgeseg.evaluation.case import Case
from hedgeseg.metrics import best_overlaps, map_components, pixel_histograms
from hedgeseg.metrics.detections import Detections, average_precision, match_boxes
from hedgeseg.metrics.max_box_accuracy import localised
from hedgeseg.metrics.pixel_pooled_precision import pooled_precision, precision_recall
from hedgeseg.metrics.resampling import Statistic

BINS = 1000
"""Of the pooled pixels' histogram, as PxAP has it."""

Note = Any


class PooledMetric(Protocol):
    """A metric of all images together."""

    def note(self, case: Case, maps: Tensor) -> Note:
        """What is kept of one image's maps, float (T, H, W)."""
        ...

    def maps(self, note: Note) -> int:
        """How many maps a note tells of."""
        ...

    def statistic(self, notes: Sequence[Note]) -> Statistic:
        """The metric of weighted images."""
        ...


class PooledPixels:
    """`PxAP`: the cells of the histogram that are not empty, with their pixels, and how many maps they are of."""

    def note(self, case: Case, maps: Tensor) -> Note:
        """Numbers of cells, pixels in each, number of maps."""
        cells = pixel_histograms(maps, case.masks, case.valid.expand_as(case.masks), BINS).flatten()
        filled = cells.nonzero()[:, 0]
        return [filled.tolist(), cells[filled].tolist(), len(maps)]

    def maps(self, note: Note) -> int:
        """All."""
        return int(note[2])

    def statistic(self, notes: Sequence[Note]) -> Statistic:
        """Area under the pooled curve."""
        table = torch.zeros(len(notes), 2 * (BINS + 1), dtype=torch.float64)
        for row, (cells, pixels, _) in zip(table, notes, strict=True):
            row[torch.tensor(cells, dtype=torch.int64)] = torch.tensor(pixels, dtype=torch.float64)
        return lambda weights: pooled_precision(*precision_recall((weights @ table).view(len(weights), 2, BINS + 1)))


class BestBoxes:
    """`MaxBoxAccV2`: of each map with true boxes, its best overlap at every threshold."""

    def note(self, case: Case, maps: Tensor) -> Note:
        """A list of overlaps per map."""
        rows = best_overlaps(maps, true_boxes(case))
        return rows[~rows[:, 0].isnan()].tolist()

    def maps(self, note: Note) -> int:
        """Those with true boxes."""
        return len(note)

    def statistic(self, notes: Sequence[Note]) -> Statistic:
        """Mean over the criteria of the accuracy at the best threshold for each."""
        # What a journal writes has seven digits: back to the precision in which overlaps are compared.
        hits = [localised(torch.tensor(note)).double().sum(0) for note in notes if note]
        if not hits:
            return lambda weights: weights.new_full((len(weights),), torch.nan)
        owners = torch.tensor([i for i, note in enumerate(notes) if note])
        seen = torch.tensor([len(note) for note in notes if note], dtype=torch.float64)
        table = torch.stack(hits)

        def accuracy(weights: Tensor) -> Tensor:
            counted = weights[:, owners]
            curves = (counted @ table.flatten(1)).view(len(weights), *table.shape[1:])
            return (curves / (counted @ seen).view(-1, 1, 1)).amax(2).mean(1)

        return accuracy


class FoundObjects:
    """`ComponentAveragePrecision` of boxes at an IoU of 0.5: of each map its components' scores, and which are hits."""

    def note(self, case: Case, maps: Tensor) -> Note:
        """Class, number of objects, scores and hits of each map."""
        rows = []
        for label, saliency, true in zip(case.classes, maps, true_boxes(case), strict=True):
            found = map_components(saliency)
            hits = match_boxes(found.boxes, found.scores, true)
            rows.append([label, len(true), found.scores.tolist(), [int(hit) for hit in hits]])
        return rows

    def maps(self, note: Note) -> int:
        """All."""
        return len(note)

    def statistic(self, notes: Sequence[Note]) -> Statistic:
        """Mean average precision over the classes."""
        images = [[Detections(label, n, scores, hits) for label, n, scores, hits in note] for note in notes]
        return lambda weights: average_precision(images, weights)


POOLED: Mapping[str, PooledMetric] = {
    "px_ap": PooledPixels(),
    "max_box_acc_v2": BestBoxes(),
    "component_average_precision": FoundObjects(),
}
"""By the name of a protocol's metric, which is also that of its headline."""


def true_boxes(case: Case) -> list[Tensor]:
    """Boxes of each row's objects, float (n, 4) xyxy: the data's, or those around the regions of its mask.

    Masks of classes do not tell touching objects apart: their regions are fewer and larger than the objects.
    """
    return [
        given if len(given) else torch.from_numpy(connected_regions(mask.cpu().numpy()).boxes).float()
        for given, mask in zip(case.boxes or [torch.zeros(0, 4)] * len(case.masks), case.masks, strict=True)
    ]
