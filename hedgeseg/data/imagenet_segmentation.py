"""ImageNet-Segmentation (Guillaumin et al., IJCV 2014): 4,276 ImageNet images of 445 classes, each with one mask.

All of it is one MATLAB 7.3 file, `gtsegs_ijcv.mat`, that h5py reads. Its group `value` holds columns of references, one
row per image: `img` to pixels uint8 (3, W, H), `gt` to a cell with the mask (W, H), `id` to the name of the image as
character codes, which begins with the WordNet id of its class; where there is a column `target`, it names the class.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hedgeseg.data.boxes import box_around
from hedgeseg.data.dataset import LabelledImages, Task
from hedgeseg.data.fit import Fit
from hedgeseg.data.imagenet_classes import imagenet_wnids
from hedgeseg.data.module import ImageDataModule
from hedgeseg.data.report import LoadReport
from hedgeseg.data.transforms import Pipeline

_MANUAL = "get it from http://calvin-vision.net/bigstuff/proj-imagenet/data/gtsegs_ijcv.mat (about 570 MB)"
_WNID = re.compile(r"n\d{8}")


class MatFile:
    """`gtsegs_ijcv.mat`, opened when it is first asked: an open HDF5 file must not cross into another process.

    Args:
        path: of the file.

    Raises:
        ImportError: h5py is not installed.
        FileNotFoundError: there is no such file.
        OSError: the file is cut short or no MATLAB 7.3 file.
        ValueError: the file holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None
        value = self._value()
        self.length = len(value["img"])
        if any(value[column].shape[0] != self.length for column in self._columns(value)):
            lengths = {column: value[column].shape[0] for column in self._columns(value)}
            raise ValueError(
                f"{path}: its columns differ in length: {lengths}. Is the file complete? If not, {_MANUAL}"
            )

    def image(self, row: int) -> np.ndarray:
        """The photograph, uint8 (H, W, 3)."""
        pixels = self._read(self._value()["img"][row, 0], row)
        if pixels.ndim == 2:  # MATLAB drops the channels of a grey image
            pixels = np.repeat(pixels[None], 3, axis=0)
        return np.ascontiguousarray(pixels.transpose(2, 1, 0))

    def foreground(self, row: int) -> np.ndarray:
        """Where the object is, bool (H, W)."""
        cell = self._read(self._value()["gt"][row, 0], row)
        return self._read(cell[0, 0], row).T > 0

    def name(self, row: int) -> str:
        """Name of the image in ImageNet, such as `n02124075_1234`; the row's number where the file has no names."""
        return self._text("id", row) if "id" in self._value() else f"{row:04d}"

    def wnid(self, row: int) -> str:
        """WordNet id of the image's class, such as `n02124075`.

        Raises:
            ValueError: neither `target` nor `id` holds one.
        """
        texts = [self._text(column, row) for column in ("target", "id") if column in self._value()]
        for text in texts:
            found = _WNID.search(text)
            if found:
                return found.group()
        raise ValueError(f"{self.path} row {row}: no WordNet id such as n02124075 in {texts}")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}

    def _text(self, column: str, row: int) -> str:
        codes = self._read(self._value()[column][row, 0], row)
        return "".join(chr(code) for code in codes.flatten().tolist()).strip("\0 ")

    def _read(self, reference: Any, row: int) -> np.ndarray:
        try:
            return np.asarray(self._opened()[reference])
        except (OSError, KeyError, ValueError, RuntimeError) as error:  # what HDF5 says of damaged content varies
            raise OSError(f"{self.path}, image {row}, is damaged ({error}). Delete the file and {_MANUAL}") from error

    def _value(self) -> Any:
        file = self._opened()
        if "value" not in file or not {"img", "gt"} <= set(file["value"]) or not {"id", "target"} & set(file["value"]):
            raise ValueError(
                f"{self.path} is not gtsegs_ijcv.mat: no value/img, value/gt and value/id in it; {_MANUAL}"
            )
        return file["value"]

    def _opened(self) -> Any:
        if self._file is None:
            h5py = _h5py()
            if not self.path.is_file():
                raise FileNotFoundError(f"{self.path} not found: {_MANUAL}")
            try:
                self._file = h5py.File(self.path, "r")
            except OSError as error:  # HDF5 knows its own length, so that a download that broke off is noticed here
                raise OSError(
                    f"{self.path} is broken or only half downloaded ({error}). Delete it and {_MANUAL}"
                ) from error
        return self._file

    @staticmethod
    def _columns(value: Any) -> Sequence[str]:
        return [column for column in ("img", "gt", "id", "target") if column in value]


class ImageNetSegmentation(LabelledImages):
    """The images of the file whose class is one of `wnids`; mask ids are class index + 1, nothing is void.

    Args:
        path: of `gtsegs_ijcv.mat`.
        wnids: WordNet ids in the order of the class indices; None takes the file's own classes in alphabetical order.
        classes: names of them; the ids themselves by default.
        transform: pipeline over image, mask and boxes.

    Attributes:
        report: how many images the file holds, and which were left out because their class is not among `wnids`.
    """

    task: Task = "multiclass"

    def __init__(
        self,
        path: str | Path,
        wnids: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        transform: Pipeline | None = None,
    ) -> None:
        self.file = MatFile(Path(path))
        found = [self.file.wnid(row) for row in range(self.file.length)]
        order = tuple(wnids if wnids is not None else sorted(set(found)))
        index_of = {wnid: index for index, wnid in enumerate(order)}
        self._rows = [row for row, wnid in enumerate(found) if wnid in index_of]
        self._labels = [index_of[found[row]] for row in self._rows]
        names = [self.file.name(row) for row in range(self.file.length)]
        self.report = LoadReport(
            found=len(found),
            unlabelled=[name for name, wnid in zip(names, found, strict=True) if wnid not in index_of],
        )
        self.report.warn(f"ImageNet-Segmentation ({path})")
        super().__init__(classes if classes is not None else order, [names[row] for row in self._rows], transform)

    def image(self, index: int) -> np.ndarray:
        """The photograph, uint8 (H, W, 3)."""
        return self.file.image(self._rows[index])

    def mask(self, index: int) -> np.ndarray:
        """The class's id on the object, 0 elsewhere, uint16 (H, W)."""
        return np.where(self.file.foreground(self._rows[index]), self._labels[index] + 1, 0).astype(np.uint16)

    def labels(self, index: int) -> tuple[int, ...]:
        """The image's class."""
        return (self._labels[index],)

    def boxes(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """One box around the object, none where the mask is empty."""
        return box_around(self.mask(index) > 0, self._labels[index])


class ImageNetSegmentationDataModule(ImageDataModule):
    """ImageNet-Segmentation to validate and predict on; there is no training set.

    Args:
        path: of `gtsegs_ijcv.mat`.
        labels: "imagenet": indices of the usual 1000 classes, for a network with ImageNet's weights; images of other
            classes are skipped and counted. "own": the file's 445 classes in the order of their WordNet ids.
        wnids: text file with the 1000 WordNet ids in ImageNet's order, one per line, for labels "imagenet"; without it
            the list that timm brings is taken (extra `timm`).
        image_size: side of the square input, or [height, width].
        batch_size: images of a batch.
        num_workers: processes that read images beside the main one.
        seed: unused, nothing is drawn; kept with the run.
        fit: how pictures are fitted to `image_size`, see `hedgeseg.data.fit`.
    """

    def __init__(
        self,
        path: str,
        labels: Literal["imagenet", "own"] = "imagenet",
        wnids: str | None = None,
        image_size: int | list[int] = 224,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
        fit: Fit | None = None,
    ) -> None:
        super().__init__(image_size, batch_size, num_workers, seed, fit)
        if labels == "own" and wnids is not None:
            raise ValueError("wnids orders ImageNet's classes; it has no use with labels='own'")
        self.save_hyperparameters()
        self.path = path
        self.labels = labels
        self.wnids = wnids

    @property
    def classes(self) -> tuple[str, ...]:
        """WordNet ids in the order of the class indices."""
        if self.labels == "imagenet":
            return imagenet_wnids(self.wnids)
        self.setup()
        assert self.val_dataset is not None
        return self.val_dataset.classes

    def setup(self, stage: str | None = None) -> None:
        """Opens the file."""
        if self.val_dataset is None:
            order = imagenet_wnids(self.wnids) if self.labels == "imagenet" else None
            self.val_dataset = ImageNetSegmentation(self.path, order, transform=self.eval_transform)
            self.predict_dataset = self.val_dataset


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError("gtsegs_ijcv.mat is read through h5py: pip install 'hedgeseg[matlab]'") from error
    return h5py
