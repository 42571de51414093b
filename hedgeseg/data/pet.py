"""Oxford-IIIT Pet: 37 breeds of cats and dogs, one per image, with a trimap each."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hedgeseg.data.archives import Archive, Source, fetch
from hedgeseg.data.batch import VOID
from hedgeseg.data.boxes import box_around
from hedgeseg.data.published import PublishedDataModule
from hedgeseg.data.records import Record, RecordedImages

PET = Source(
    "Oxford-IIIT Pet",
    (
        Archive("images.tar.gz", "5c4f3ee8e5d25df40f4fd59a7f44e54c"),
        Archive("annotations.tar.gz", "95a8c909bbe2e81eed6a22bccdf3f68f"),
    ),
    "get images.tar.gz and annotations.tar.gz from https://www.robots.ox.ac.uk/~vgg/data/pets/ and unpack both into "
    "ROOT/oxford-iiit-pet",
)
_FOREGROUND, _BACKGROUND, _BORDER = 1, 2, 3


class Pet(RecordedImages):
    """The images of a list. Boxes are drawn around the trimap's animal: the published ones hold only heads.

    The trimap's border, which belongs to neither side, becomes void.
    """

    def decode_mask(self, path: Path, index: int) -> np.ndarray:
        """Trimap to ids.

        Raises:
            ValueError: the file holds something else than a trimap.
        """
        with Image.open(path) as file:
            trimap = np.array(file)
        if trimap.ndim != 2 or not np.isin(trimap, (_FOREGROUND, _BACKGROUND, _BORDER)).all():
            raise ValueError(f"{path} is not a trimap of 1 (animal), 2 (background) and 3 (border)")
        mask = np.zeros(trimap.shape, np.uint8)
        mask[trimap == _FOREGROUND] = self.labels(index)[0] + 1
        mask[trimap == _BORDER] = VOID
        return mask

    def boxes(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """One box around the animal, none if the trimap shows nothing of it."""
        mask = self.mask(index)
        region = np.zeros((1, 1), bool) if mask is None else (mask > 0) & (mask != VOID)
        return box_around(region, self.labels(index)[0])


def read_pet_list(root: Path, split: str) -> tuple[tuple[str, ...], list[Record]]:
    """Reads `annotations/<split>.txt`: image name, class id from 1, species, breed.

    Returns:
        The breeds in the order of their ids, and the records.

    Raises:
        FileNotFoundError: the list is missing.
        ValueError: a line does not look like the list's.
    """
    path = root / "annotations" / f"{split}.txt"
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found; ask for download, or {PET.advice(root)}")
    names: dict[int, str] = {}
    records = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            name, class_id = line.split()[0], int(line.split()[1])
        except (IndexError, ValueError) as error:
            raise ValueError(f"{path} line {number}: expected 'name class species breed', got {line!r}") from error
        names[class_id - 1] = name.rpartition("_")[0]
        trimap = root / "annotations" / "trimaps" / f"{name}.png"
        records.append(Record(name, root / "images" / f"{name}.jpg", (class_id - 1,), trimap))
    return tuple(names[index] for index in sorted(names)), records


class PetDataModule(PublishedDataModule):
    """Oxford-IIIT Pet, multi-class: learns from `trainval`, validates and predicts on `test`.

    Args:
        root: folder that holds (or gets) `oxford-iiit-pet`.
        download: fetch the archives into `root`.
        options: of `PublishedDataModule`.
    """

    def __init__(self, root: str, download: bool = False, **options: Any) -> None:
        super().__init__(root, **options)
        self.save_hyperparameters()
        self.download = download

    @property
    def classes(self) -> tuple[str, ...]:
        """The breeds."""
        return read_pet_list(self._folder, "trainval")[0]

    def prepare_data(self) -> None:
        """Downloads the archives if that was asked for."""
        if self.download:
            there = (self._folder / "annotations" / "test.txt").is_file
            fetch(PET, "OxfordIIITPet", there, self._folder, root=str(self.root))

    def setup(self, stage: str | None = None) -> None:
        """Reads the lists."""
        if self.val_dataset is not None:
            return
        classes, learnt = read_pet_list(self._folder, "trainval")
        _, kept = read_pet_list(self._folder, "test")
        PET.require((file for record in learnt + kept for file in (record.image, record.mask) if file), self._folder)
        self.train_dataset = Pet("Pet trainval", classes, learnt, "multiclass", self.train_transform, True, self.verify)
        self.val_dataset = Pet("Pet test", classes, kept, "multiclass", self.eval_transform, verify=self.verify)
        self.predict_dataset = self.val_dataset

    @property
    def _folder(self) -> Path:
        return self.root / "oxford-iiit-pet"
