"""Data sets whose annotations are known before the pixels are: a list of records, one per image file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from hedgeseg.data.batch import VOID
from hedgeseg.data.dataset import LabelledImages, Task
from hedgeseg.data.images import read_image, read_mask, unreadable
from hedgeseg.data.orientation import read_header
from hedgeseg.data.report import LoadReport, by_name
from hedgeseg.data.transforms import Pipeline


@dataclass(frozen=True)
class Record:
    """One image file and what is known about it.

    Attributes:
        id: name, unique in its data set.
        image: image file.
        labels: class indices present, each once; empty where it is known that none is (a negative), None where nothing
            is known.
        mask: mask file, None if there is none.
        boxes: x0, y0, x1, y1 in pixels, one per object.
        box_labels: class index of each box.
        size: (height, width) that boxes and mask were drawn at, if the annotation says so.
    """

    id: str
    image: Path
    labels: tuple[int, ...] | None
    mask: Path | None = None
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    box_labels: tuple[int, ...] = ()
    size: tuple[int, int] | None = None


class RecordedImages(LabelledImages):
    """The records whose image can be read and whose labels are known.

    An image of no class is a negative: its labels are empty and, where other images have masks, its true mask is all
    background, though no file says so.

    Args:
        name: what warnings and errors call the data set.
        classes: names; the position is the class index.
        records: what the annotations say.
        task: "multilabel" or "multiclass".
        transform: pipeline over image, mask and boxes.
        random: whether the pipeline draws.
        verify: decode every image once to skip and count the broken ones. Without it a broken image stops the run,
            with its name, when it is met: for published data sets that were checked as an archive.
        troubles: annotations that are not used as they are, with the reason.
        left_out: images that are known to be of no use, with the reason.

    Attributes:
        report: what was found and what was left out; a single warning tells it.

    Raises:
        ValueError: nothing usable is left, or an id occurs twice.
    """

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        records: Sequence[Record],
        task: Task = "multilabel",
        transform: Pipeline | None = None,
        random: bool = False,
        verify: bool = True,
        troubles: Mapping[str, str] = MappingProxyType({}),
        left_out: Mapping[Path, str] = MappingProxyType({}),
    ) -> None:
        left_out = {**left_out, **self.misfits(records, verify)}
        sound = (record.image for record in records if record.image not in left_out)
        broken = {**left_out, **(unreadable(sound) if verify else {})}
        self.report = LoadReport(
            found=len(records),
            unreadable=by_name(broken),
            unlabelled=[record.id for record in records if record.labels is None and record.image not in broken],
            annotations=dict(troubles),
        )
        self.records = [record for record in records if record.labels is not None and record.image not in broken]
        self.report.negatives = sum(not record.labels for record in self.records)
        self.report.warn(name)
        if not any(record.labels for record in self.records):
            raise ValueError(f"{name} is empty: no image that can be used shows a class; {self.report}")
        self._masked = any(record.mask is not None for record in self.records)
        super().__init__(classes, [record.id for record in self.records], transform, random)
        if len(set(self.ids)) < len(self.ids):
            twice = next(name for name in self.ids if self.ids.count(name) > 1)
            raise ValueError(f"{name}: two images are called {twice!r}; ids must differ, seeds are saved under them")
        self.task = task

    def misfits(self, records: Sequence[Record], verify: bool) -> Mapping[Path, str]:
        """Images that are of no use whatever they show, with the reason; for data sets that know of such."""
        return {}

    def image(self, index: int) -> np.ndarray:
        """The photograph, uint8 (H, W, 3)."""
        return read_image(self.records[index].image)

    def mask(self, index: int) -> np.ndarray | None:
        """Semantic ids, uint8 (H, W), of the record's mask file; of a negative among masked images, all background."""
        record = self.records[index]
        if record.mask is not None:
            return self.decode_mask(record.mask, index)
        if record.labels or not self._masked:
            return None
        return np.zeros(read_header(record.image).upright, np.uint8 if self.void == VOID else np.uint16)

    def decode_mask(self, path: Path, index: int) -> np.ndarray:
        """Turns a mask file into ids; for data sets that write masks otherwise."""
        return read_mask(path, len(self.classes))

    def labels(self, index: int) -> tuple[int, ...]:
        """Classes of the record."""
        return self.records[index].labels or ()

    def boxes(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Boxes of the record."""
        record = self.records[index]
        return np.array(record.boxes, np.float32).reshape(-1, 4), np.array(record.box_labels, np.int64)
