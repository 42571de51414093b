"""Draws one scene of textured shapes on a textured ground, with the exact mask and box of every object.

A class is a shape together with a texture; colours are random and say nothing about the class.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _star_edge(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # radius of a five-pointed star in the direction of (u, v): 0.4 in a notch, 1 at a spike's tip
    spike = np.abs((np.arctan2(v, u) * 5 / (2 * np.pi)) % 1 - 0.5) * 2
    return 0.4 + 0.6 * spike**1.5


SHAPES: dict[str, Pattern] = {
    "disc": lambda u, v: u**2 + v**2 < 0.81,
    "ring": lambda u, v: np.abs(np.hypot(u, v) - 0.7) < 0.3,
    "triangle": lambda u, v: (v > -0.6) & (v < 1 - 1.8 * np.abs(u)),
    "square": lambda u, v: np.maximum(np.abs(u), np.abs(v)) < 0.7,
    "star": lambda u, v: np.hypot(u, v) < _star_edge(u, v),
    "cross": lambda u, v: (np.minimum(np.abs(u), np.abs(v)) < 0.34) & (np.maximum(np.abs(u), np.abs(v)) < 0.95),
}
"""Class name -> whether the point (u, v) of the shape's own frame, [-1, 1]^2, belongs to it."""

TEXTURES: dict[str, Pattern] = {
    "disc": lambda x, y: (np.sin(0.85 * x) * np.sin(0.85 * y)) ** 2 > 0.3,  # dots
    "ring": lambda x, y: np.sin(1.1 * np.hypot(x, y)) > 0,  # circles
    "triangle": lambda x, y: np.sin(1.1 * x) > 0,  # stripes
    "square": lambda x, y: np.sin(0.65 * x) * np.sin(0.65 * y) > 0,  # checkerboard
    "star": lambda x, y: np.sin(1.1 * x + 2.5 * np.sin(0.55 * y)) > 0,  # waves
    "cross": lambda x, y: np.minimum(np.sin(0.75 * x) ** 2, np.sin(0.75 * y) ** 2) < 0.12,  # grid
}
"""Class name -> which of two colours the point (x, y) has, in units of about 1.3 pixels of a 128 pixel scene."""

_SIDE = 128  # what texture frequencies are tuned for
_RADII = (0.14, 0.3)  # of the side
_OBJECT_COUNTS = (0.15, 0.4, 0.45)  # probability of one, two, three objects
_REPEATED_CLASS = 0.15  # probability that the last object repeats the first one's class
_LEAST_VISIBLE = 0.45  # no object is hidden further than this share of its pixels
_PLACEMENTS = 8


@dataclass(frozen=True)
class Scene:
    """One drawn scene.

    Attributes:
        image: uint8 (side, side, 3), RGB.
        mask: uint8 (side, side), 0 background, class index + 1.
        boxes: float32 (n, 4), x0 y0 x1 y1, tight around the visible pixels of each object.
        box_labels: int64 (n,), class index of each object.
    """

    image: np.ndarray
    mask: np.ndarray
    boxes: np.ndarray
    box_labels: np.ndarray


def draw_scene(rng: np.random.Generator, side: int) -> Scene:
    """Draws one to three objects, later ones over earlier ones, each at least 45 % visible.

    Args:
        rng: everything random comes from here.
        side: side of the square scene in pixels, at least 32.
    """
    names = tuple(SHAPES)
    image = _ground(rng, side)
    owner = np.zeros((side, side), np.uint8)  # 0 ground, k the k-th object
    areas: list[int] = []
    labels: list[int] = []
    for label in _classes(rng, len(names)):
        for _ in range(_PLACEMENTS):
            window, inside, texture = _place(rng, names[label], side)
            trial = owner.copy()
            trial[window][inside] = len(areas) + 1
            visible = np.bincount(trial.ravel(), minlength=len(areas) + 2)[1:]
            if all(seen >= _LEAST_VISIBLE * area for seen, area in zip(visible, areas, strict=False)):
                owner = trial
                image[window][inside] = _paint(rng, texture)[inside]
                areas.append(int(inside.sum()))
                labels.append(label)
                break
    image += rng.integers(0, 256, image.shape, np.uint8) >> 4
    box_labels = np.array(labels, np.int64)
    return Scene(
        image=np.clip(image, 0, 255).astype(np.uint8),
        mask=np.concatenate([[0], box_labels + 1]).astype(np.uint8)[owner],
        boxes=np.array([_box(owner == k + 1) for k in range(len(labels))], np.float32),
        box_labels=box_labels,
    )


def _classes(rng: np.random.Generator, count: int) -> list[int]:
    number = 1 + int(rng.choice(len(_OBJECT_COUNTS), p=_OBJECT_COUNTS))
    chosen = [int(c) for c in rng.permutation(count)[:number]]
    if number > 1 and rng.random() < _REPEATED_CLASS:
        chosen[-1] = chosen[0]
    return chosen


def _place(rng: np.random.Generator, name: str, side: int) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """A window of the scene, the pixels of it that the object covers, and which of two colours each has."""
    radius = rng.uniform(*_RADII) * side
    cx, cy = rng.uniform(0.6 * radius, side - 0.6 * radius, 2)
    angle = rng.uniform(0, 2 * np.pi)
    x0, y0 = max(int(cx - radius), 0), max(int(cy - radius), 0)
    x1, y1 = min(int(cx + radius) + 2, side), min(int(cy + radius) + 2, side)
    dx = np.arange(x0, x1, dtype=np.float32) - np.float32(cx)
    dy = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(cy)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = cos * dx + sin * dy, cos * dy - sin * dx
    inside = SHAPES[name](u / np.float32(radius), v / np.float32(radius))
    pixel = np.float32(rng.uniform(0.6, 0.9) * _SIDE / side)
    return (slice(y0, y1), slice(x0, x1)), inside, TEXTURES[name](u * pixel, v * pixel)


def _paint(rng: np.random.Generator, texture: np.ndarray) -> np.ndarray:
    """Two random colours with enough contrast to tell the texture, where `texture` is False and True."""
    dark = rng.uniform(0, 130, 3)
    light = np.minimum(dark + rng.uniform(60, 150, 3), 255)
    colours = np.stack([dark, light] if rng.random() < 0.5 else [light, dark]).astype(np.float32)
    return colours[texture.astype(np.uint8)]


def _ground(rng: np.random.Generator, side: int) -> np.ndarray:
    """Soft blotches of two colours with a faint ripple: float32 (side, side, 3) in [0, 255]."""
    cells = int(rng.integers(3, 17))
    blotches = cv2.resize(rng.random((cells, cells), np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    turn = np.arange(side, dtype=np.float32) * np.float32(2 * np.pi / side)
    kx, ky = rng.uniform(-12, 12, 2).astype(np.float32)
    share = np.clip(blotches + np.float32(rng.uniform(0, 0.35)) * np.sin(kx * turn + ky * turn[:, None]), 0, 1)[
        ..., None
    ]
    first = rng.uniform(20, 235, 3).astype(np.float32)
    second = np.clip(first + rng.uniform(-70, 70, 3), 0, 255).astype(np.float32)
    return first + share * (second - first)


def _box(pixels: np.ndarray) -> tuple[int, int, int, int]:
    x, y, width, height = cv2.boundingRect(pixels.astype(np.uint8))
    return x, y, x + width, y + height
