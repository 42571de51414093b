"""Drawing: signed maps, overlays, masks and sheets, as pictures a stranger can read.

Every function is pure: arrays or tensors in, one uint8 array ``(H, W, 3)`` out. Nothing here knows how a map was made,
where a picture goes, or which framework asked for it.

    panel = side_by_side([image, seismic(relevance), overlay(image, relevance)])
    sheet = contact_sheet([[image, seismic(a)], [image, seismic(b)]], columns=("image", "relevance"))

The colours of a signed map follow the field's habit: red is evidence for the class, blue against it, white is zero, and
the scale is symmetric, so that equal strengths of the two signs have equal saturation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Picture = npt.NDArray[np.uint8]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Matplotlib's "seismic", kept here because importing a plotting library costs more than drawing the picture.
_SEISMIC_AT = (-1.0, -0.5, 0.0, 0.5, 1.0)
_SEISMIC = ((0, 0, 77), (0, 0, 255), (255, 255, 255), (255, 0, 0), (128, 0, 0))
_INK, _PAPER, _GREY, _FRAME = (20, 20, 20), (255, 255, 255), (140, 140, 140), (205, 205, 205)


def robust_scale(relevance: Any, percentile: float = 99.5) -> float:
    """The magnitude that is drawn at full saturation: a percentile of ``|relevance|`` over its finite, non-zero values.

    A percentile and not the maximum, because one hot pixel would otherwise leave the rest of the map white; zeros are
    left out, because on a sparse map the percentile of all pixels is zero.

    Args:
        relevance: ``(H, W)`` signed map, tensor or array.
        percentile: in (0, 100].

    Returns:
        A positive number; 1.0 for a map that is zero everywhere.
    """
    magnitude = np.abs(_array(relevance, ndim=2, name="relevance"))
    magnitude = magnitude[np.isfinite(magnitude) & (magnitude > 0)]
    return float(np.percentile(magnitude, percentile)) if magnitude.size else 1.0


def seismic(relevance: Any, scale: float | None = None, percentile: float = 99.5) -> Picture:
    """Draw a signed map: red for, blue against, white at exactly zero.

    Args:
        relevance: ``(H, W)`` signed map, tensor or array. NaN is drawn grey.
        scale: magnitude at full saturation. The default is :func:`robust_scale` of this map alone, so give one scale to
            maps that are compared.
        percentile: of the default scale.

    Example:
        >>> seismic([[-1.0, 0.0, 1.0]], scale=1.0).tolist()
        [[[0, 0, 77], [255, 255, 255], [128, 0, 0]]]
    """
    values = _array(relevance, ndim=2, name="relevance")
    scaled = np.clip(values / (scale or robust_scale(values, percentile)), -1, 1)
    channels = [np.interp(scaled, _SEISMIC_AT, [colour[c] for colour in _SEISMIC]) for c in range(3)]
    picture = np.rint(np.nan_to_num(np.stack(channels, axis=-1))).astype(np.uint8)
    picture[np.isnan(values)] = _GREY
    return picture


def overlay(image: Any, relevance: Any, scale: float | None = None, percentile: float = 99.5) -> Picture:
    """Lay a signed map over its image: the image fades to grey, and colour comes in with the strength of the relevance.

    Args:
        image: ``(H, W, 3)`` uint8.
        relevance: ``(H, W)`` signed map; resized to the image when it is of another size.
        scale: as in :func:`seismic`.
        percentile: as in :func:`seismic`.
    """
    picture = as_picture(image)
    values = np.nan_to_num(_array(relevance, ndim=2, name="relevance"))
    scale = scale or robust_scale(values, percentile)
    if values.shape != picture.shape[:2]:
        height, width = picture.shape[:2]
        values = np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BILINEAR))
    # Linear: a root would tint the whole picture where a map is weakly negative all over. A ground moved towards white
    # keeps the two colours distinct.
    strength = np.clip(np.abs(values) / scale, 0, 1)[..., None]
    grey = picture.astype(np.float32) @ np.asarray((0.299, 0.587, 0.114), np.float32)
    ground = (0.75 * grey + 0.25 * 255)[..., None]
    colour = np.where(values[..., None] > 0, np.asarray((225, 20, 20)), np.asarray((20, 60, 235)))
    return np.rint((1 - 0.85 * strength) * ground + 0.85 * strength * colour).astype(np.uint8)


def denormalise(image: Any, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> Picture:
    """Turn a network's input back into a picture.

    Args:
        image: float ``(C, H, W)``. One channel is drawn grey, two are padded with zeros, of four or more the first
            three are drawn.
        mean: the means that were subtracted, one per channel, of pixels in [0, 1].
        std: the deviations that were divided by. Without ``mean`` and ``std``, an image in [0, 1] or in [0, 255] is
            taken as it is, and any other is stretched from its minimum to its maximum: right in shape, not in colour.

    Raises:
        ValueError: the image is not ``(C, H, W)``, or ``mean`` has neither one entry nor one per channel.
    """
    values: npt.NDArray[Any] = _array(image, ndim=3, name="image")
    if mean is not None or std is not None:
        offset = np.asarray(0.0 if mean is None else mean, np.float32)
        factor = np.asarray(1.0 if std is None else std, np.float32)
        for name, given in (("mean", offset), ("std", factor)):
            if given.size not in (1, values.shape[0]):
                raise ValueError(
                    f"{name} has {given.size} entries for an image of {values.shape[0]} channels: give one per channel"
                )
        values = values * factor.reshape(-1, 1, 1) + offset.reshape(-1, 1, 1)
    else:
        low, high = values.min(), values.max()
        if low >= 0 and 1 < high <= 255:
            values = values / 255
        elif low < 0 or high > 1:
            values = (values - low) / np.maximum(high - low, np.float32(1e-12))
    if values.shape[0] not in (1, 3):
        values = np.concatenate([values[:3], np.zeros((max(0, 3 - values.shape[0]), *values.shape[1:]), values.dtype)])
    picture = np.rint(np.clip(np.nan_to_num(values), 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture


def voc_palette() -> Picture:
    """The 256 colours of VOC masks, ``(256, 3)``: an id's bits dealt to red, green and blue, highest bit first."""
    ids = np.arange(256)
    channels = [sum(((ids >> (3 * bit + c)) & 1) << (7 - bit) for bit in range(3)) for c in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)


def colour_mask(mask: Any, image: Any | None = None, opacity: float = 0.6) -> Picture:
    """Draw a mask of ids in VOC colours, alone or laid over its image.

    Args:
        mask: ``(H, W)`` integers in [0, 255]: 0 background, 255 void.
        image: ``(H, W, 3)`` uint8 to lay the objects over; the background then stays the image.
        opacity: of the colours over the image, in [0, 1].

    Raises:
        ValueError: ids outside [0, 255], or a mask of another size than the image.

    Example:
        >>> colour_mask([[0, 1, 255]]).tolist()
        [[[0, 0, 0], [128, 0, 0], [224, 224, 192]]]
    """
    ids = _array(mask, ndim=2, name="mask")
    if ids.size and (ids.min() < 0 or ids.max() > 255):
        raise ValueError(f"mask holds ids from {ids.min():g} to {ids.max():g}: a mask of VOC colours holds 0 to 255")
    colours = voc_palette()[ids.astype(np.uint8)]
    if image is None:
        return colours
    picture = as_picture(image)
    if picture.shape[:2] != ids.shape:
        raise ValueError(
            f"mask is {ids.shape} and its image {picture.shape[:2]}: resize one to the other first (nearest for a mask)"
        )
    blend = np.rint((1 - opacity) * picture + opacity * colours).astype(np.uint8)
    return np.where((ids > 0)[..., None], blend, picture)


def outline(picture: Any, region: Any, colour: Sequence[int] = (255, 220, 0), width: int = 1) -> Picture:
    """Trace the border of a region on a picture, inside the region.

    Args:
        picture: ``(H, W, 3)`` uint8.
        region: ``(H, W)`` bool.
        colour: RGB of the line.
        width: of the line in pixels.
    """
    drawn, inside = as_picture(picture).copy(), _array(region, ndim=2, name="region") > 0
    core = inside
    for _ in range(width):
        padded = np.pad(core, 1, constant_values=True)
        core = core & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    drawn[inside & ~core] = colour
    return drawn


def side_by_side(panels: Sequence[Any], gap: int = 4) -> Picture:
    """Put panels next to each other, all at the height of the first, on white."""
    return contact_sheet([panels], gap=gap, margin=0)


def contact_sheet(
    cells: Sequence[Sequence[Any]],
    columns: Sequence[str] = (),
    rows: Sequence[str] = (),
    title: str = "",
    gap: int = 6,
    margin: int = 6,
) -> Picture:
    """Lay out rows of panels on white, with a caption over each column and a caption over each row.

    Args:
        cells: rows of pictures ``(H, W, 3)`` uint8, of any lengths. All are drawn at the height of the first panel,
            their shape kept.
        columns: captions over the columns; empty for none.
        rows: one caption per row, drawn above the row; empty for none.
        title: drawn on top.
        gap: pixels between panels.
        margin: pixels around the sheet.

    Raises:
        ValueError: no panel at all, or another number of row captions than of rows.

    Example:
        >>> picture = np.zeros((20, 30, 3), np.uint8)
        >>> contact_sheet([[picture, picture]], gap=4, margin=2).shape
        (24, 68, 3)
    """
    pictures = [[as_picture(cell) for cell in row] for row in cells]
    if not pictures or not any(pictures):
        raise ValueError("a contact sheet needs at least one panel")
    if rows and len(rows) != len(pictures):
        raise ValueError(f"{len(rows)} row captions for {len(pictures)} rows of panels: give one per row")
    height = next(row for row in pictures if row)[0].shape[0]
    pictures = [[_to_height(picture, height) for picture in row] for row in pictures]
    count = max(len(row) for row in pictures)
    widths = [max((row[c].shape[1] for row in pictures if c < len(row)), default=0) for c in range(count)]

    size = int(np.clip(height / 14, 13, 18))
    line = size + 6
    font = ImageFont.load_default(size)
    total = 2 * margin + sum(widths) + gap * (count - 1)
    total = max(total, *(2 * margin + int(font.getlength(text)) + 2 for text in (title, *rows)))
    top = margin + line * (bool(title) + bool(columns))
    step = height + gap + line * bool(rows)
    sheet = Image.new("RGB", (total, top + step * len(pictures) - gap + margin), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((margin, margin), title, _INK, font)
    lefts = [margin + sum(widths[:c]) + gap * c for c in range(count)]
    for left, width, text in zip(lefts, widths, columns, strict=False):
        draw.text((left, top - line), _fitted(text, width, font), _GREY, font)
    for r, row in enumerate(pictures):
        y = top + step * r
        if rows:
            draw.text((margin, y), rows[r], _INK, font)
            y += line
        for left, picture in zip(lefts, row, strict=False):
            sheet.paste(Image.fromarray(picture), (left, y))
            draw.rectangle((left - 1, y - 1, left + picture.shape[1], y + height), outline=_FRAME)
    return np.asarray(sheet)


def same_size(pictures: Sequence[Any]) -> list[Picture]:
    """Pad pictures on the right and at the bottom, with white, to the largest height and width among them."""
    checked = [as_picture(picture) for picture in pictures]
    height = max((picture.shape[0] for picture in checked), default=0)
    width = max((picture.shape[1] for picture in checked), default=0)
    pads = [((0, height - p.shape[0]), (0, width - p.shape[1]), (0, 0)) for p in checked]
    return [np.pad(p, pad, constant_values=255) for p, pad in zip(checked, pads, strict=True)]


def as_picture(image: Any) -> Picture:
    """Check that ``image`` is a uint8 picture and return it as ``(H, W, 3)``; ``(H, W)`` is drawn grey.

    Raises:
        TypeError: another dtype. Floats are refused, not guessed: use :func:`denormalise` or :func:`seismic`.
        ValueError: another shape.
    """
    values = np.asarray(image.detach().cpu() if hasattr(image, "detach") else image)
    if values.dtype != np.uint8:
        raise TypeError(
            f"a picture is uint8, this one is {values.dtype}: use denormalise() for images and seismic() for maps"
        )
    if values.ndim == 2:
        values = np.repeat(values[..., None], 3, axis=2)
    if values.ndim != 3 or values.shape[2] != 3 or 0 in values.shape:
        raise ValueError(f"a picture is (H, W, 3), this one is {values.shape}")
    return cast(Picture, values)


def _to_height(picture: Picture, height: int) -> Picture:
    if picture.shape[0] == height:
        return picture
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def _fitted(text: str, width: int, font: Any) -> str:
    while len(text) > 1 and font.getlength(text) > width:
        text = text[:-2].rstrip(" .…") + "…"
    return text


def _array(values: Any, ndim: int, name: str) -> npt.NDArray[np.float32]:
    """A float32 array of the wanted rank from a tensor (on any device, of any dtype) or an array."""
    if hasattr(values, "detach"):
        values = values.detach().float().cpu()
    array = np.asarray(values, dtype=np.float32)
    if array.ndim != ndim:
        raise ValueError(f"{name} has shape {array.shape}: expected {ndim} dimensions")
    return array
