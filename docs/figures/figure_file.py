"""How a figure of the documentation is called for, and the file that it becomes."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from hedgeseg.visual import Picture


def arguments(script: str, description: str, weights: bool = True) -> argparse.Namespace:
    """Where to write, beside the script by default; and weights, where a figure needs some."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if weights:
        parser.add_argument("--weights", required=True, help="torchvision's state dict of MobileNetV2, or DEFAULT")
    out = Path(script).with_suffix(".jpg")
    parser.add_argument("--out", type=Path, default=out, help="the picture to write (default: %(default)s)")
    return parser.parse_args()


def save(picture: Picture, path: Path, quality: int = 85) -> None:
    """Write a JPEG that a page loads fast."""
    Image.fromarray(picture).save(path, quality=quality, optimize=True)
    print(f"{path}: {picture.shape[1]} x {picture.shape[0]}, {path.stat().st_size / 1000:.0f} kB")
