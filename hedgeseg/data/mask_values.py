"""What the values of a mask file mean: ids, a binary mask of a class, or colours.

A mask that was not written for this project says nothing of its code. Where one image leaves no doubt it is read, and
`MaskValues.assumed` says aloud how; where it does, the error says what to type. 255 is void only beside ids.
"""

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from hedgeseg.data.batch import VOID, void_id
from hedgeseg.visual import voc_palette

BACKGROUND = "background"
VOID_NAMES = ("void", "ignore", "unlabelled")
_VOC_VOID = (224, 224, 192)
_SOFT = 0.05  # share of pixels between black and white that a compressed or smoothed binary mask may have
_NAMED = 6


class MaskValues:
    """Turns the pixels of mask files into ids: 0 background, class index + 1, void.

    Args:
        classes: names, in the order of their indices.
        values: what pixels mean: grey values or palette indices (`255`), or colours (`"255,0,0"`, `"#ff0000"`), each
            with the name of a class, "background" or "void". None tells it from each mask where that leaves no
            doubt.
        command: whether they are given as a command takes them, `--mask-values 255=crack`, and not as a data module.

    Attributes:
        assumed: how masks were read without `values`, each way once, to be said aloud.

    Raises:
        ValueError: `values` names an unknown class, or something that is no value.
    """

    def __init__(
        self, classes: Sequence[str], values: Mapping[int | str, str] | None = None, command: bool = False
    ) -> None:
        self.classes = tuple(classes)
        self._command = command
        self.void = void_id(len(classes))
        self.assumed: list[str] = []
        self._greys: dict[int, int] = {}
        self._colours: dict[tuple[int, int, int], int] = {}
        for value, name in (values or {}).items():
            key = _key(value)
            if isinstance(key, int):
                self._greys[key] = self._id(name)
            else:
                self._colours[key] = self._id(name)
        if values is not None:
            self._greys.setdefault(0, 0)
            self._colours.setdefault((0, 0, 0), 0)
        self._given = values is not None

    def read(self, path: Path, labels: Collection[int], marks: int | None = None) -> np.ndarray:
        """Ids (H, W) of a mask file, uint8, or uint16 beside more than 254 classes.

        Args:
            path: the file.
            labels: classes of its image.
            marks: the only class that the file marks, where its name says so.

        Raises:
            OSError: the file is missing or no image.
            ValueError: its values have no meaning, or more than one; says what to give.
        """
        pixels = _pixels(path, colours=bool(self._colours) and len(self._colours) > 1)
        ids = self._mapped(pixels, path) if self._given else self._told(pixels, path, sorted(labels), marks)
        return ids.astype(np.uint8 if self.void == VOID else np.uint16)

    def _id(self, name: str) -> int:
        if name in self.classes:
            return self.classes.index(name) + 1
        if name == BACKGROUND:
            return 0
        if name in VOID_NAMES:
            return self.void
        raise ValueError(
            f"mask_values: {name!r} is none of the classes {list(self.classes)}, nor '{BACKGROUND}' or 'void'"
        )

    def _mapped(self, pixels: np.ndarray, path: Path) -> np.ndarray:
        table: Mapping[int, int] = self._greys
        if pixels.ndim == 3:
            greys = {_packed((value, value, value)): id for value, id in self._greys.items() if 0 <= value <= VOID}
            table, pixels = greys | {_packed(colour): id for colour, id in self._colours.items()}, _pack(pixels)
        found, where = np.unique(pixels, return_inverse=True)
        strange = [value for value in found.tolist() if value not in table]
        if strange:
            shown = [_shown(value, table is not self._greys) for value in strange[:_NAMED]]
            raise ValueError(f"mask {path} holds {', '.join(shown)}, of which mask_values says nothing")
        return np.array([table[value] for value in found.tolist()])[where].reshape(pixels.shape)

    def _told(self, pixels: np.ndarray, path: Path, labels: list[int], marks: int | None) -> np.ndarray:
        only = marks if marks is not None else labels[0] if len(labels) == 1 else None
        if pixels.ndim == 3:
            ids = _palette_ids(pixels, len(self.classes), self.void)
            marked = set() if ids is None else set(np.unique(ids).tolist()) - {0, self.void}
            if ids is not None and marks is None and (not labels or marked <= {label + 1 for label in labels}):
                self._say("colours are those of PASCAL VOC's palette")
                return ids
            pixels = self._two_colours(pixels, path)
        values = np.unique(pixels).tolist()
        if values == [0]:
            return pixels
        shown = [value for value in values if 0 < value <= len(self.classes)]
        are_ids = marks is None and shown and set(values) <= {0, self.void, *shown}
        if are_ids and (shown not in ([1], [VOID]) or only in (None, shown[0] - 1)):
            return pixels
        if shown == [1] and set(values) <= {0, 1, self.void} and only is not None:
            self._say("values 0 and 1 are background and the class that the image, or the mask's name, says")
            return np.where(pixels == 1, only + 1, np.where(pixels == self.void, self.void, 0))
        white = _white(values)
        if white is None:
            white, pixels = self._soft(pixels)
        if white is None:
            raise ValueError(
                f"mask {path} holds the values {values[:_NAMED]}{' ...' if len(values) > _NAMED else ''} but there are "
                f"{len(self.classes)} classes: expected ids (0 background, class index + 1, {self.void} void) or a "
                f"binary mask; say what they mean, such as {self._example(values[-1])}"
            )
        if only is None:
            shows = [self.classes[label] for label in labels] or "none of the classes, as far as is known"
            raise ValueError(
                f"mask {path} holds {white} and 0 alone, and its image shows {shows}: what is {white}? Say so in the "
                f"mask's name ({path.stem}_{self.classes[0]}.png), or for all masks alike: {self._example(white)}"
            )
        self._say(
            f"values 0 and {white} are background and the class that the image, or the mask's name, says "
            f"({white} is not void; if it is: {self._given_as(white, 'void')})"
        )
        return np.where(pixels == white, only + 1, 0)

    def _two_colours(self, pixels: np.ndarray, path: Path) -> np.ndarray:
        """A mask of black and one colour as 0 and 255."""
        packed = _pack(pixels)
        found = np.unique(packed).tolist()
        if len(found) > 2 or 0 not in found:
            shown = [_shown(value, True) for value in found[:_NAMED]]
            raise ValueError(
                f"mask {path} holds {len(found)} colours, {', '.join(shown)}{' ...' if len(found) > _NAMED else ''}: "
                f"say what they mean, such as {self._example(shown[-1])}"
            )
        return np.where(packed > 0, 255, 0)

    def _soft(self, pixels: np.ndarray) -> tuple[int | None, np.ndarray]:
        """A compressed or smoothed mask of black and white, cut in the middle."""
        between = float(((pixels > 32) & (pixels < 223)).mean())
        if between > _SOFT or pixels.max() > 255 or pixels.max() < 223:
            return None, pixels
        self._say("greys between black and white are cut at 128")
        return 255, np.where(pixels >= 128, 255, 0)

    def _say(self, how: str) -> None:
        if how not in self.assumed:
            self.assumed.append(how)

    def _example(self, value: int | str) -> str:
        name = self.classes[0]
        if self._command:
            return f"{self._given_as(value, name)} or {self._given_as(value, 'void')}"
        given = f"{{{value!r}: {name}}}"
        return f"mask_values {given} or {{{value!r}: void}} (--data.mask_values {shlex.quote(given)})"

    def _given_as(self, value: int | str, name: str) -> str:
        return f"--mask-values {value}={name}" if self._command else f"mask_values {{{value!r}: {name}}}"


def union(masks: Sequence[np.ndarray], void: int) -> np.ndarray:
    """Masks of single classes on top of each other, the larger ones below.

    Raises:
        ValueError: they differ in size.
    """
    if len({mask.shape for mask in masks}) > 1:
        raise ValueError(f"masks of one image differ in size: {sorted({mask.shape for mask in masks})}")
    whole = np.zeros_like(masks[0])
    for mask in sorted(masks, key=lambda mask: -int(((mask > 0) & (mask != void)).sum())):
        whole[mask > 0] = mask[mask > 0]
    return whole


def _pixels(path: Path, colours: bool) -> np.ndarray:
    """Values (H, W), or colours (H, W, 3) if they are no greys."""
    with Image.open(path) as file:
        if not colours and (file.mode in ("1", "L", "P") or file.mode.startswith(("I", "F"))):
            found = np.asarray(file)
            return found.astype(np.uint8) * 255 if file.mode == "1" else _whole(found, path)
        image = file.convert("RGBA")
    drawn = np.asarray(image)
    # what is transparent is not marked
    rgb = np.where(drawn[..., 3:] > 0, drawn[..., :3], 0)
    return rgb[..., 0] if (rgb == rgb[..., :1]).all() and not colours else rgb


def _whole(values: np.ndarray, path: Path) -> np.ndarray:
    if values.dtype.kind == "f":
        if not (values == np.round(values)).all():
            raise ValueError(f"mask {path} holds fractions such as {values[values != np.round(values)][0]:.3g}")
        values = values.astype(np.int64)
    return values


def _white(values: Sequence[int]) -> int | None:
    """The one value beside 0, if it is the largest of its bits."""
    marked = [value for value in values if value]
    return marked[0] if len(marked) == 1 and marked[0] in (1, 255, 65535) else None


def _key(value: int | str) -> int | tuple[int, int, int]:
    text = str(value).strip()
    if text.lstrip("-").isdecimal():
        return int(text)
    digits = text.removeprefix("#")
    parts = [digits[i : i + 2] for i in (0, 2, 4)] if text.startswith("#") and len(digits) == 6 else text.split(",")
    try:
        colour = [int(part, 16 if text.startswith("#") else 10) for part in parts]
    except ValueError:
        colour = []
    if len(colour) != 3 or not all(0 <= part <= 255 for part in colour):
        raise ValueError(f"mask_values: {value!r} is neither a value such as 255 nor a colour such as '255,0,0'")
    return colour[0], colour[1], colour[2]


def _pack(pixels: np.ndarray) -> np.ndarray:
    wide = pixels.astype(np.int64)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def _packed(colour: tuple[int, int, int]) -> int:
    return (colour[0] << 16) | (colour[1] << 8) | colour[2]


def _shown(value: int, colour: bool) -> str:
    return f"{value >> 16},{value >> 8 & 255},{value & 255}" if colour else str(value)


def _palette_ids(pixels: np.ndarray, num_classes: int, void: int) -> np.ndarray | None:
    """Ids of a mask in VOC's colours, if it holds no others."""
    table = {
        _packed((r, g, b)): i for i, (r, g, b) in enumerate(voc_palette()[: min(num_classes, VOID - 1) + 1].tolist())
    }
    table[_packed(_VOC_VOID)] = void
    found, where = np.unique(_pack(pixels), return_inverse=True)
    if not all(value in table for value in found.tolist()):
        return None
    return np.array([table[value] for value in found.tolist()])[where].reshape(pixels.shape[:2])
