"""Reading image and mask files, whatever their mode, into the two arrays the project works with."""

import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from hedgeseg.data.batch import VOID, void_id
from hedgeseg.data.depth import eight_bits, is_deep, read_deep
from hedgeseg.data.orientation import read_header, turned
from hedgeseg.label_image import NoLabelImageError, read_label_image
from hedgeseg.progress import progress

_COLOURED = frozenset({"RGB", "RGBA", "LA"})  # modes in which Pillow keeps eight bits only
_MANY = 2000  # images from which on checking them takes long enough for a bar
_WHITE = (255, 255, 255)
_FAULTS = (OSError, Image.DecompressionBombError, SyntaxError, ValueError)  # what Pillow raises for broken files


def read_image(path: Path) -> np.ndarray:
    """Reads a photograph as uint8 (H, W, 3) RGB, turned upright as its EXIF data say.

    Grey images get three equal channels, transparent ones a white ground; values of more than eight bits are scaled by
    the range they are in, as `hedgeseg.data.depth` has it.

    Raises:
        OSError: the file is missing, is no image, is cut short, or has more pixels than Pillow takes for safe.
    """
    try:
        with _large_ones_welcome(), Image.open(path) as file:
            if is_deep(file) and file.mode in _COLOURED:
                orientation = read_header(path).orientation
                deep = read_deep(path)
                if deep is not None:
                    return turned(deep, orientation)
            return np.asarray(_to_rgb(ImageOps.exif_transpose(file)))
    except FileNotFoundError:
        raise
    except UnidentifiedImageError as error:
        deep = read_deep(path)
        if deep is None:
            raise OSError(f"{path}: {error}") from error
        return deep
    except _FAULTS as error:
        raise OSError(f"{path}: {error}") from error


def read_mask(path: Path, num_classes: int) -> np.ndarray:
    """Reads a mask of ids (H, W): a palette or grey PNG with 0 background, class index + 1 and void.

    Up to 254 classes: 8 bits, uint8, 255 void. More: 16 bits, uint16, 65535 void.

    Raises:
        OSError: the file is missing or no image.
        ValueError: the file holds colours instead of ids, has too few bits, or an id beyond the classes.
    """
    void = void_id(num_classes)
    bits, dtype = (8, np.uint8) if void == VOID else (16, np.uint16)
    try:
        ids = read_label_image(path, bits)
    except NoLabelImageError as error:
        raise ValueError(f"{error} for {num_classes} classes") from error
    unknown = unknown_ids(ids, num_classes, void)
    if unknown:
        raise ValueError(
            f"mask {path} holds the ids {unknown} but there are {num_classes} classes: "
            f"expected 0 (background), class index + 1, or {void} (void)"
        )
    return ids.astype(dtype, copy=False)


def unknown_ids(ids: np.ndarray, num_classes: int, void: int) -> list[int]:
    """Up to eight ids of a mask that are neither background, a class nor void."""
    found = np.unique(ids)
    return found[((found < 0) | (found > num_classes)) & (found != void)][:8].tolist()


def unreadable(paths: Iterable[Path]) -> dict[Path, str]:
    """Decodes every file once and returns the broken ones with the reason, in order.

    Decoding is the only test that finds a file cut short; JPEGs are decoded at an eighth of their size, in threads.
    """
    paths = list(paths)
    with _large_ones_welcome(), ThreadPoolExecutor() as pool:
        found = pool.map(_fault, paths)
        reasons = progress(
            found, "checking images", total=len(paths), unit="image", leave=False, disable=len(paths) < _MANY
        )
        return {path: reason for path, reason in zip(paths, reasons, strict=True) if reason}


@contextmanager
def _large_ones_welcome() -> Iterator[None]:
    """No warning of images between 89 and 179 megapixels; beyond, Pillow refuses to open them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _fault(path: Path) -> str | None:
    try:
        if not path.stat().st_size:
            return "empty file"
        with Image.open(path) as file:
            file.draft(None, (1, 1))
            file.load()
    except FileNotFoundError:
        return "no such file"
    except UnidentifiedImageError as error:
        return None if read_deep(path) is not None else str(error).replace(str(path), path.name)
    except _FAULTS as error:
        return str(error).replace(str(path), path.name)
    return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if is_deep(image) and image.mode not in _COLOURED:
        return Image.fromarray(eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGB", image.size, _WHITE)
        ground.paste(image, mask=image.getchannel("A"))
        return ground
    return image.convert("RGB")
