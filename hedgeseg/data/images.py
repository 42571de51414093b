"""Reading image and mask files, whatever their mode, into the two arrays the project works with."""

import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

_WHITE = (255, 255, 255)
_FAULTS = (OSError, Image.DecompressionBombError, SyntaxError, ValueError)  # what Pillow raises for broken files


def read_image(path: Path) -> np.ndarray:
    """Reads a photograph as uint8 (H, W, 3) RGB, turned upright as its EXIF data say.

    Grey images get three equal channels, transparent ones a white ground; 16-bit values keep their eight high bits.

    Raises:
        OSError: the file is missing, is no image, is cut short, or has more pixels than Pillow takes for safe.
    """
    try:
        with Image.open(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return np.asarray(_to_rgb(ImageOps.exif_transpose(file)))
    except FileNotFoundError:
        raise
    except _FAULTS as error:
        raise OSError(f"{path}: {error}") from error


def read_mask(path: Path, num_classes: int) -> np.ndarray:
    """Reads a mask of ids as uint8 (H, W): a palette or grey PNG with 0 background, class index + 1, 255 void.

    Raises:
        OSError: the file is missing or no image.
        ValueError: the file holds colours instead of ids, or an id beyond the classes.
    """
    with Image.open(path) as file:
        if file.mode not in ("P", "L"):
            raise ValueError(f"mask {path} has mode {file.mode}, expected palette (P) or grey (L) ids of 8 bits")
        ids = np.array(file)
    unknown = np.setdiff1d(ids, [*range(num_classes + 1), 255])
    if unknown.size:
        raise ValueError(
            f"mask {path} holds the ids {unknown[:8].tolist()} but there are {num_classes} classes: "
            "expected 0 (background), class index + 1, or 255 (void)"
        )
    return ids


def unreadable(paths: Iterable[Path]) -> dict[Path, str]:
    """Decodes every file once and returns the broken ones with the reason, in order.

    Decoding is the only test that finds a file cut short; JPEGs are decoded at an eighth of their size, in threads.
    """
    paths = list(paths)
    with ThreadPoolExecutor() as pool:
        reasons = pool.map(_fault, paths)
        return {path: reason for path, reason in zip(paths, reasons, strict=True) if reason}


def _fault(path: Path) -> str | None:
    try:
        with Image.open(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            file.draft(None, (1, 1))
            file.load()
    except FileNotFoundError:
        return "no such file"
    except _FAULTS as error:
        return str(error).replace(str(path), path.name)
    return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow's own conversion clips at 255 and would leave such images white
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGB", image.size, _WHITE)
        ground.paste(image, mask=image.getchannel("A"))
        return ground
    return image.convert("RGB")
