"""SBD: Hariharan et al.'s masks for 11,355 images of VOC, which make up the usual training set `train_aug`.

Semantic Contours from Inverse Detectors, ICCV 2011. The set has 10,582 images: VOC 2012's `train` and what SBD adds to
it, without VOC 2012's `val`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from torchvision.datasets import SBDataset

from hedgeseg.data.archives import Source, archives_of

SBD = Source(
    "SBD",
    archives_of([(SBDataset.url, SBDataset.md5)]),
    f"get {SBDataset.url} and unpack it in ROOT, so that ROOT/benchmark_RELEASE/dataset/cls exists; or put the list "
    "train_aug.txt into VOC2012/ImageSets/Segmentation and its PNGs into VOC2012/SegmentationClassAug",
)


def find_sbd(root: str | Path) -> Path | None:
    """The folder with `cls`, `train.txt` and `val.txt` in `root` or in the usual places below it; None without one."""
    root = Path(root)
    places = (root, root / "SBD", root / "sbd", root / "benchmark_RELEASE" / "dataset")
    return next((folder for folder in places if (folder / "cls").is_dir()), None)


def train_aug(voc: Sequence[str], held_out: Sequence[str], sbd: Path) -> dict[str, Path | None]:
    """Image names of `train_aug`, in order, with SBD's mask file, or None where VOC has its own finer mask.

    Args:
        voc: names of VOC 2012's segmentation `train`.
        held_out: names of its `val`.
        sbd: folder with `cls`, `train.txt` and `val.txt`.

    Raises:
        FileNotFoundError: a list is missing.
    """
    added: set[str] = set()
    for split in ("train", "val"):
        path = sbd / f"{split}.txt"
        if not path.is_file():
            raise FileNotFoundError(f"{path} not found: SBD was unpacked only in part. {SBD.advice(sbd)}")
        added.update(path.read_text().split())
    names = sorted((added | set(voc)) - set(held_out))
    own = set(voc)
    return {name: None if name in own else sbd / "cls" / f"{name}.mat" for name in names}


def read_sbd_mask(path: Path) -> np.ndarray:
    """Ids of a file of `cls`: uint8 (H, W), 0 background, VOC's class index + 1; SBD knows no void.

    Raises:
        OSError: the file is missing, broken or something else.
    """
    try:
        ids = loadmat(str(path))["GTcls"][0]["Segmentation"][0]
    except FileNotFoundError:
        raise
    except Exception as error:  # what scipy raises depends on where the file is cut
        raise OSError(f"{path} is not a mask of SBD, or broken ({type(error).__name__}: {error})") from error
    return np.asarray(ids, np.uint8)
