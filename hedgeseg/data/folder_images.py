"""The images of somebody's folder, whose masks may be written in any of the usual ways."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from hedgeseg.data.dataset import Task
from hedgeseg.data.mask_files import MaskPart
from hedgeseg.data.mask_values import MaskValues, union
from hedgeseg.data.orientation import read_header, turn_of, turned
from hedgeseg.data.records import Record, RecordedImages
from hedgeseg.data.transforms import Pipeline

_TRIED = 16


class FolderImages(RecordedImages):
    """Records with mask files that say neither what their values mean nor, maybe, which class they mark.

    A mask that cannot be read costs no more than itself: its image counts as one without a mask, and `mask_faults` and
    a warning name it. If nothing but such masks is met, the first error stops whoever asked.

    Args:
        name: what warnings and errors call the data set.
        classes: names; the position is the class index.
        records: what is known of the images; their `mask` is not looked at.
        parts: mask files of each image, by id.
        values: what the masks' values mean, see `MaskValues`.
        task: "multilabel" or "multiclass".
        transform: pipeline over image, mask and boxes.
        verify: decode every image once to skip and count the broken ones.
        left_out: images that are known to be of no use, with the reason.

    Attributes:
        mask_faults: why masks could not be read, by image id.
    """

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        records: Sequence[Record],
        parts: Mapping[str, tuple[MaskPart, ...]],
        values: Mapping[int | str, str] | None = None,
        task: Task = "multilabel",
        transform: Pipeline | None = None,
        verify: bool = True,
        left_out: Mapping[Path, str] = MappingProxyType({}),
    ) -> None:
        self.mask_values = MaskValues(classes, values)
        super().__init__(name, classes, records, task, transform, verify=verify, left_out=left_out)
        self.name = name
        self._parts = parts
        self._masked = bool(parts)
        self.mask_faults: dict[str, str] = {}
        self._readable = False
        self._told = 0

    def mask(self, index: int) -> np.ndarray | None:
        """Ids of the upright picture; None if there is no mask, or none that can be read.

        Raises:
            ValueError: no mask that was asked for so far could be read.
        """
        identifier = self.ids[index]
        parts = self._parts.get(identifier)
        if identifier in self.mask_faults:
            return None
        if not parts:
            return super().mask(index)
        try:
            mask = self._decoded(index, parts)
        except (OSError, SyntaxError, ValueError) as error:
            if not self._readable and not self._others_can_be_read(index):
                raise ValueError(f"image {identifier!r}: {error}") from error
            self.mask_faults[identifier] = str(error)
            warnings.warn(f"{self.name}: the mask of {identifier!r} is left out: {error}", stacklevel=2)
            return None
        self._readable = True
        for how in self.mask_values.assumed[self._told :]:
            warnings.warn(f"{self.name}: masks as of {identifier!r}: {how}", stacklevel=2)
        self._told = len(self.mask_values.assumed)
        return mask

    def _others_can_be_read(self, index: int) -> bool:
        """Whether a fault is that of one file: some of the other masks can be read."""
        others = [i for i, name in enumerate(self.ids) if name in self._parts and i != index]
        for other in others[:: max(1, len(others) // _TRIED)]:
            try:
                self._decoded(other, self._parts[self.ids[other]])
            except (OSError, SyntaxError, ValueError):
                continue
            self._readable = True
            return True
        return False

    def _decoded(self, index: int, parts: Sequence[MaskPart]) -> np.ndarray:
        labels = self.labels(index)
        read = [self.mask_values.read(path, labels, marks) for path, marks in parts]
        mask = union(read, self.void) if len(read) > 1 else read[0]
        header = read_header(self.records[index].image)
        if mask.shape not in (header.stored, header.upright):
            raise ValueError(
                f"its mask is {mask.shape[0]} x {mask.shape[1]} but the image is {header.upright[0]} x "
                f"{header.upright[1]} (height x width): they must cover the same pixels"
            )
        return turned(mask, turn_of(header, (mask.shape[0], mask.shape[1])))
