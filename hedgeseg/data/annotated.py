"""Pictures whose boxes and masks were drawn by an annotation tool, which may not have turned them as cameras ask."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from hedgeseg.data.orientation import Frame, Header, Size, read_header, turn_of, turned, turned_boxes, usual_frame
from hedgeseg.data.records import Record, RecordedImages


class AnnotatedImages(RecordedImages):
    """Records whose pictures are shown upright, and whose boxes and masks are turned with them.

    With `verify`, images that were annotated at another size are skipped and counted as broken ones are; without it,
    such an image stops the run, with its name, when it is met.
    """

    _frame: Frame = "stored"  # as published data sets have it

    def misfits(self, records: Sequence[Record], verify: bool) -> Mapping[Path, str]:
        """Images that were annotated at another size."""
        if not verify:
            return {}
        self._frame, found = _survey(records)
        return found

    def mask(self, index: int) -> np.ndarray | None:
        """Semantic ids of the upright picture, if there is a mask."""
        mask = self.drawn_mask(index)
        header = self._header(index)
        if mask is None or mask.shape not in (header.stored, header.upright):
            return mask  # of another size: whoever lays it on the picture will say so
        return turned(mask, turn_of(header, mask.shape, self._frame))

    def drawn_mask(self, index: int) -> np.ndarray | None:
        """The mask as it was drawn; for data sets that make masks otherwise."""
        return super().mask(index)

    def boxes(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Boxes in the upright picture."""
        boxes, labels = super().boxes(index)
        if not len(boxes):
            return boxes, labels
        header = self._header(index)
        try:
            orientation = turn_of(header, self.drawn_size(index), self._frame)
        except ValueError as error:
            raise ValueError(f"image {self.ids[index]!r}: {error}") from error
        return turned_boxes(boxes, orientation, header.upright), labels

    def drawn_size(self, index: int) -> Size:
        """(height, width) of the pixels that the annotation means."""
        known = self.records[index].size
        if known is not None:
            return known
        header = self._header(index)
        return header.stored if self._frame == "stored" else header.upright

    def _header(self, index: int) -> Header:
        return read_header(self.records[index].image)


def _survey(records: Sequence[Record]) -> tuple[Frame, dict[Path, str]]:
    """The usual frame of the annotations, and the files that were annotated at another size."""
    with ThreadPoolExecutor() as pool:
        headers = list(pool.map(_header_or_none, records))
    found = [(record, header) for record, header in zip(records, headers, strict=True) if header is not None]
    frame = usual_frame([header for _, header in found], [record.size for record, _ in found])
    misfits = {}
    for record, header in found:
        try:
            turn_of(header, record.size, frame)
        except ValueError as error:
            misfits[record.image] = str(error)
    return frame, misfits


def _header_or_none(record: Record) -> Header | None:
    try:
        return read_header(record.image)
    except (OSError, SyntaxError, ValueError):  # decoding it will say what is wrong
        return None
