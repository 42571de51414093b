"""Which mask files belong to which image: by the same name, by a suffix, or one file per class."""

from collections.abc import Sequence
from pathlib import Path

from hedgeseg.data.listing import images_in, mask_owner, stem

MaskPart = tuple[Path, int | None]


class MaskFiles:
    """The mask files of a data set.

    | image `a/b.jpg`, class `crack`                               | marks                          |
    |--------------------------------------------------------------|--------------------------------|
    | `MASKS/a/b.png`, `MASKS/a/b_mask.png`, `a/b_mask.png`        | ids, or all that is labelled   |
    | `MASKS/a/b_mask_1.png`, `MASKS/a/b_mask_2.png`               | parts of the same              |
    | `MASKS/crack/a/b.png`, `MASKS/a/b_crack.png`                 | that class alone               |

    Args:
        folder: the folder of masks, None without one.
        beside: masks that lie beside their images, by path relative to the images.
        classes: names, in the order of their indices.

    Attributes:
        paths: all the files.
    """

    def __init__(self, folder: Path | None, beside: Sequence[tuple[str, Path]], classes: Sequence[str]) -> None:
        self._whole: dict[str, list[MaskPart]] = {}
        self._of_class: dict[str, list[MaskPart]] = {}
        listed = [] if folder is None else [(name, folder / name) for name in images_in(folder)]
        index = {name: i for i, name in enumerate(classes)}
        self.paths = [path for _, path in (*beside, *listed)]
        for relative, path in (*beside, *listed):
            name = stem(relative)
            self._whole.setdefault(name, []).append((path, None))
            owner = mask_owner(relative)
            if owner is not None:
                self._whole.setdefault(owner, []).append((path, None))
            first, _, rest = name.partition("/")
            if first in index and rest:
                self._of_class.setdefault(rest, []).append((path, index[first]))
                if owner is not None:
                    self._of_class.setdefault(owner.partition("/")[2], []).append((path, index[first]))
            start, _, last = name.rpartition("_")
            if last in index and start:
                self._of_class.setdefault(start, []).append((path, index[last]))

    def of(self, relative: str, split: bool) -> tuple[MaskPart, ...]:
        """Mask files of an image, each with the class it marks, None where that is not said.

        Args:
            relative: path of the image without suffix.
            split: whether its first folder is a split, which the folder of masks may lack.
        """
        names = [relative, relative.partition("/")[2]] if split else [relative]
        for name in names:
            if name in self._whole:
                return tuple(self._whole[name])
            if name in self._of_class:
                return tuple(self._of_class[name])
        return ()
