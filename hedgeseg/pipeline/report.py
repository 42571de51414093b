"""The report of a pipeline: one HTML file that needs nothing beside it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hedgeseg.data.images import read_mask
from hedgeseg.page import page, picture, table
from hedgeseg.pipeline.table import ROWS, class_rows, number
from hedgeseg.pipeline.work import Work, mask_folder
from hedgeseg.seeds.formats.files import file_in, replacing
from hedgeseg.visual import Picture, colour_mask, contact_sheet

HEIGHT = 150
SHOWN = {"seeds": "seed", "pseudo_masks": "pseudo-mask", "masks": "network", "supervised": "from true masks"}


def write_report(path: Path, work: Work, found: Mapping[str, Any], rows: int = 12) -> Path:
    """Write scores, times and sheets of pictures; returns the path.

    Args:
        path: the HTML file.
        work: folders and images.
        found: content of `pipeline.json`.
        rows: pictures of a sheet, evenly drawn from the images.
    """
    parts = [_scores(found), _classes(found), _seconds(found)]
    for title, part in (("Held back images", "val"), ("Images learnt from", "train")):
        parts.append(f"<h2>{title}</h2>" + picture(sheet(work, part, rows)))
    with replacing(path) as temporary:
        temporary.write_text(page("From labels to masks", parts), encoding="utf-8")
    return path


def sheet(work: Work, part: str, rows: int) -> Picture:
    """Picture and masks of every stage, side by side, of evenly drawn images of "train" or "val"."""
    dataset = getattr(work.images, part)
    truth = None if work.truth is None else getattr(work.truth, part)
    folders = {name: mask_folder(work, stage) for stage, name in SHOWN.items()}
    folders = {name: folder for name, folder in folders.items() if folder.is_dir()}
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(rows, len(dataset))).round().astype(int)).tolist()
    panels, names = [], []
    for index in chosen:
        name, image = dataset.ids[index], dataset.image(index)
        row = [image]
        for folder in folders.values():
            path = file_in(folder, name, ".png")
            row.append(_coloured(read_mask(path, len(dataset.classes)), image) if path.is_file() else image)
        if truth is not None:
            true = truth.mask(index)
            row.append(image if true is None else _coloured(true, image))
        panels.append([_thumbnail(panel) for panel in row])
        names.append(", ".join(dataset.classes[c] for c in dataset.labels(index)) or "nothing")
    columns = ["image", *folders, *(["true mask"] if truth is not None else [])]
    return contact_sheet(panels, rows=names, columns=columns)


def _scores(found: Mapping[str, Any]) -> str:
    rows = []
    for key, title in ROWS.items():
        score = found[key] or {}
        interval = f"{score['miou_low']:.3f} to {score['miou_high']:.3f}" if "miou_low" in score else "-"
        painted = score.get("free_painted")
        shown = "-" if painted is None else f"{painted:.2%}"
        rows.append([title, str(score.get("images", "-")), number(score.get("miou")), interval, shown])
    told = found["classifier"] or {}
    notes = [f"Classifier: {told['metric']} {number(told['value'])} on the held back images."] if told else []
    if found["agreement"] is not None:
        notes.append(
            f"Agreement of the network with the pseudo-masks of the held back images: {found['agreement']:.3f}."
        )
    if found["ratio"] is not None:
        notes.append(f"Ratio to the network from true masks: {found['ratio']:.3f}.")
    header = ["", "images", "mean IoU", "95 % over images", "of good images painted"]
    return "<h2>Scores</h2>" + table(header, rows) + "".join(f"<p>{html.escape(note)}</p>" for note in notes)


def _classes(found: Mapping[str, Any]) -> str:
    header, rows = class_rows(found)
    return "<h2>IoU of the classes</h2>" + table(header, rows) if rows else ""


def _seconds(found: Mapping[str, Any]) -> str:
    rows = [[stage, f"{seconds / 60:.1f}"] for stage, seconds in found["seconds"].items()]
    return "<h2>Time</h2>" + table(["stage", "minutes"], rows)


def _coloured(mask: np.ndarray, image: np.ndarray) -> Picture:
    # the palette has 256 colours; masks of more classes share them
    return colour_mask((mask.astype(np.int64) % 256).astype(np.uint8), image)


def _thumbnail(panel: Picture) -> Picture:
    width = max(1, round(panel.shape[1] * HEIGHT / panel.shape[0]))
    return np.asarray(Image.fromarray(panel).resize((width, HEIGHT)))
