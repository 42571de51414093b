"""Oxford-IIIT Pet: 37 breeds of cats and dogs, one per image, with a trimap each."""

from pathlib import Path

import numpy as np
from PIL import Image

from hedgeseg.data.batch import VOID
from hedgeseg.data.boxes import box_around
from hedgeseg.data.download import fetch
from hedgeseg.data.module import ImageDataModule
from hedgeseg.data.records import Record, RecordedImages
from hedgeseg.data.transforms import eval_transform, train_transform

_MANUAL = (
    "get images.tar.gz and annotations.tar.gz from https://www.robots.ox.ac.uk/~vgg/data/pets/ and unpack both into "
    "ROOT/oxford-iiit-pet"
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
        raise FileNotFoundError(f"{path} not found: {_MANUAL}, or ask for download")
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


class PetDataModule(ImageDataModule):
    """Oxford-IIIT Pet, multi-class: learns from `trainval`, validates and predicts on `test`.

    Args:
        root: folder that holds (or gets) `oxford-iiit-pet`.
        image_size: side of the square input, or [height, width].
        batch_size: images of a batch.
        num_workers: processes that read images beside the main one.
        seed: unused by the lists, which are fixed; kept with the run.
        download: fetch the archives into `root`.
        verify: decode every image once at the start, skip and count broken ones.
    """

    def __init__(
        self,
        root: str,
        image_size: int | list[int] = 224,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
        download: bool = False,
        verify: bool = True,
    ) -> None:
        super().__init__(image_size, batch_size, num_workers, seed)
        self.save_hyperparameters()
        self.root = root
        self.download = download
        self.verify = verify

    @property
    def classes(self) -> tuple[str, ...]:
        """The breeds."""
        return read_pet_list(self._folder, "trainval")[0]

    def prepare_data(self) -> None:
        """Downloads the archives if that was asked for."""
        if self.download:
            fetch("Oxford-IIIT Pet", "OxfordIIITPet", _MANUAL, root=self.root)

    def setup(self, stage: str | None = None) -> None:
        """Reads the lists."""
        if self.val_dataset is not None:
            return
        classes, learnt = read_pet_list(self._folder, "trainval")
        _, kept = read_pet_list(self._folder, "test")
        moving, still = train_transform(self.image_size), eval_transform(self.image_size)
        self.train_dataset = Pet("Pet trainval", classes, learnt, "multiclass", moving, random=True, verify=self.verify)
        self.val_dataset = Pet("Pet test", classes, kept, "multiclass", still, verify=self.verify)
        self.predict_dataset = self.val_dataset

    @property
    def _folder(self) -> Path:
        return Path(self.root) / "oxford-iiit-pet"
