"""Pictures of a surface, good and defective: parts of a photograph of a brick wall, with cracks and stains drawn on.

    uv run docs/figures/surfaces.py --out runs/surfaces
    uv run docs/figures/surfaces.py --out runs/labelled --stickers 0.4

writes `OUT/images/good`, `OUT/images/crack`, `OUT/images/stain` and `OUT/masks/crack`, `OUT/masks/stain`: something to
try `hedgeseg describe`, `pipeline` and `audit` on. With `--stickers` so many of the cracks are repaired, and a sticker
is what is left of them under the label "crack". The photograph comes with scikit-image (`hedgeseg[skimage]`) and is in
the public domain (CC0Textures, Bricks25).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFilter

SIDE = 160
"""Of a cut-out in pixels."""

Strength = np.ndarray
"""How strongly a defect shows, float (SIDE, SIDE) in [0, 1]."""


def cut_out(rng: np.random.Generator) -> np.ndarray:
    """Some of the wall, turned and lit at random: float (SIDE, SIDE) in [0, 255]."""
    whole = skimage.data.brick().astype(np.float32)
    top, left = rng.integers(0, whole.shape[0] - SIDE, 2)
    part = np.rot90(whole[top : top + SIDE, left : left + SIDE], int(rng.integers(4)))
    part = part[:, ::-1] if rng.random() < 0.5 else part
    light = np.linspace(*rng.uniform(0.85, 1.15, 2), SIDE)
    return np.clip((part - 128) * rng.uniform(0.7, 1.0) + 138, 0, 255) * light


def crack(rng: np.random.Generator) -> Strength:
    """A thin line that wanders across the surface."""
    angle, step = rng.uniform(0, 2 * np.pi), 7
    where = rng.uniform(0.35, 0.65, 2) * SIDE - np.array([np.cos(angle), np.sin(angle)]) * SIDE * 0.35
    path = [tuple(where)]
    for _ in range(int(rng.integers(12, 19))):
        angle += rng.normal(0, 0.5)
        where = where + step * np.array([np.cos(angle), np.sin(angle)])
        path.append(tuple(where))
    drawn = Image.new("L", (SIDE * 4, SIDE * 4))
    ImageDraw.Draw(drawn).line([(4 * x, 4 * y) for x, y in path], fill=255, width=int(rng.integers(9, 17)))
    return np.asarray(drawn.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32) / 255


def stain(rng: np.random.Generator) -> Strength:
    """A blot of a few overlapping discs."""
    drawn = Image.new("L", (SIDE, SIDE))
    pen, middle = ImageDraw.Draw(drawn), rng.uniform(0.25, 0.75, 2) * SIDE
    for _ in range(5):
        (x, y), r = middle + rng.normal(0, 9, 2), rng.uniform(8, 17)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=255)
    return np.asarray(drawn.filter(ImageFilter.GaussianBlur(1.5)), np.float32) / 255


COLOURS: dict[str, tuple[Callable[[np.random.Generator], Strength], tuple[int, int, int], float]] = {
    "crack": (crack, (28, 24, 22), 0.92),
    "stain": (stain, (96, 60, 32), 0.72),
}
"""How a defect is drawn, its colour, and how far it hides what it lies on."""


def picture(rng: np.random.Generator, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A surface, uint8 (SIDE, SIDE, 3), and where its defect is, bool (SIDE, SIDE)."""
    ground = np.repeat(cut_out(rng)[..., None], 3, axis=2)
    if name not in COLOURS:
        return ground.clip(0, 255).astype(np.uint8), np.zeros((SIDE, SIDE), bool)
    draw, colour, opacity = COLOURS[name]
    strength = draw(rng)
    hidden = (opacity * strength)[..., None]
    drawn = (1 - hidden) * ground + hidden * np.asarray(colour, np.float32)
    return drawn.clip(0, 255).astype(np.uint8), strength > 0.5


def sticker(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture with a yellow label near its lower edge."""
    drawn = Image.fromarray(pixels)
    left, top = float(rng.uniform(4, SIDE - 40)), float(rng.uniform(0.72, 0.86)) * SIDE
    pen = ImageDraw.Draw(drawn)
    pen.rectangle((left, top, left + 34, top + 18), fill=(250, 220, 40), outline=(40, 40, 40))
    for line in (6, 12):
        pen.line((left + 5, top + line, left + 28, top + line), fill=(20, 20, 160), width=2)
    return np.asarray(drawn)


def write(out: Path, count: int = 60, stickers: float = 0.0, seed: int = 0) -> None:
    """So many pictures of each kind, with masks of the defective ones (0 and 255); a sticker for a share of cracks."""
    rng = np.random.default_rng(seed)
    for name in ("good", *COLOURS):
        for kind in ("images", "masks"):
            if kind == "images" or name != "good":
                (out / kind / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            repaired = name == "crack" and number < round(stickers * count)
            pixels, defect = picture(rng, "good" if repaired else name)
            if repaired:
                pixels = sticker(pixels, rng)
            Image.fromarray(pixels).save(out / "images" / name / f"{number:03d}.png")
            if name != "good":
                Image.fromarray(defect.astype(np.uint8) * 255).save(out / "masks" / name / f"{number:03d}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/surfaces"), help="where to (default: %(default)s)")
    parser.add_argument("--count", type=int, default=60, help="pictures of each kind (default: %(default)s)")
    parser.add_argument("--stickers", type=float, default=0.0, help="share of the cracks with one in their place")
    given = parser.parse_args()
    write(given.out, given.count, given.stickers)
    print(f"{given.out}/images: good, {', '.join(COLOURS)}, {given.count} each")
