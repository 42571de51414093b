"""The panel of one watched image: for every class a row of image, relevance and overlay, captioned in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from hedgeseg import visual
from hedgeseg.callbacks.scores import Finding, Score
from hedgeseg.callbacks.snapshot import Panel
from hedgeseg.callbacks.trainer_context import Normalisation
from hedgeseg.class_names import ClassNames
from hedgeseg.visual import Picture

COLUMNS = ("image", "red for, blue against", "cross: strongest pixel")
SMALLEST, LARGEST = 160, 384


def draw_panels(
    findings: Sequence[Finding], names: ClassNames, when: str, normalisation: Normalisation | None = None
) -> list[Panel]:
    """Draw the maps of the watched images, one sheet for each.

    The object's outline is yellow on the image. A cross marks the strongest pixel on the overlay: green on the object,
    orange off it, white where that is not known.

    Args:
        findings: the images, their maps and scores.
        names: of the classes.
        when: such as "epoch 3", for the title.
        normalisation: (mean, std) to undo.
    """
    pictures = [visual.denormalise(f.explanation.example.image, *(normalisation or (None, None))) for f in findings]
    drawings = [_drawing(f, p, names, when) for f, p in zip(findings, pictures, strict=True)]
    return [Panel(f, p, d, i) for i, (f, p, d) in enumerate(zip(findings, pictures, drawings, strict=True))]


def _drawing(finding: Finding, picture: Picture, names: ClassNames, when: str) -> Picture:
    explanation, scores = finding.explanation, finding.scores
    rows, captions = [], []
    for row, index in enumerate(explanation.classes):
        relevance = explanation.maps[row].numpy()
        region = explanation.example.region(index)
        shown = _sized(picture)
        if region is not None:
            shown = visual.outline(shown, _sized(region.numpy()), width=2)
        laid = _sized(visual.overlay(picture, relevance))
        if relevance.any():
            laid = _marked(laid, relevance, scores[row].hit)
        rows.append([shown, _sized(visual.seismic(relevance)), laid])
        captions.append(_caption(f"{names[index]} {explanation.scores[row]:.2f}", scores[row], bool(relevance.any())))
    title = f"{explanation.example.key} \N{MIDDLE DOT} {when}"
    return visual.contact_sheet(rows, columns=COLUMNS, rows=captions, title=title)


def _caption(name: str, score: Score, relevant: bool) -> str:
    if not relevant:
        return f"{name} \N{MIDDLE DOT} no relevance anywhere"
    parts = [name]
    if score.hit is not None:
        parts.append("on the object" if score.hit else "off the object")
    if score.outside_inside is not None:
        parts.append(f"outside/inside {score.outside_inside:.2f}")
    if score.drift is not None:
        parts.append(f"drift {score.drift:.2f}")
    return " \N{MIDDLE DOT} ".join(parts)


def _sized(picture: np.ndarray) -> np.ndarray:
    """Bring a picture or a bool mask to a size that can be looked at; enlarged pixels stay visible as pixels."""
    height, width = picture.shape[:2]
    target = int(np.clip(height, SMALLEST, LARGEST))
    if target == height:
        return picture
    size = (max(1, round(width * target / height)), target)
    smooth = target < height and picture.dtype == np.uint8
    return np.asarray(
        Image.fromarray(picture).resize(size, Image.Resampling.BOX if smooth else Image.Resampling.NEAREST)
    )


def _marked(picture: Picture, relevance: np.ndarray, hit: bool | None) -> Picture:
    """Mark the map's strongest pixel with a cross."""
    height, width = picture.shape[:2]
    y, x = np.unravel_index(int(relevance.argmax()), relevance.shape)
    y, x = round((y + 0.5) * height / relevance.shape[0]), round((x + 0.5) * width / relevance.shape[1])
    colour = (0, 190, 70) if hit else (255, 255, 255) if hit is None else (255, 140, 0)
    arm, drawn = max(4, height // 30), picture.copy()
    for thickness, ink in ((2, (0, 0, 0)), (1, colour)):
        drawn[max(0, y - thickness) : y + thickness, max(0, x - arm - thickness + 1) : x + arm + thickness - 1] = ink
        drawn[max(0, y - arm - thickness + 1) : y + arm + thickness - 1, max(0, x - thickness) : x + thickness] = ink
    return drawn
