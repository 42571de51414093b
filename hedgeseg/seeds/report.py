"""A folder of seeds at a glance: one HTML file that needs nothing beside it.

With true masks it holds the scores, the curve over backgrounds and a table of classes; without, what can be told
without them. Either way the seeds that look most wrong come first, as pictures.
"""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from hedgeseg.page import number, page, picture, table
from hedgeseg.seeds.agreement import Suspicion, suspicion
from hedgeseg.seeds.formats import has_scores, has_seed, read_seed
from hedgeseg.seeds.formats.files import replacing
from hedgeseg.seeds.manifest import failures_in
from hedgeseg.seeds.score import MaskedImages, SeedScore, warn_of_damage
from hedgeseg.seeds.seed import Seed
from hedgeseg.seeds.table import COLUMNS
from hedgeseg.seeds.tracked import tracked
from hedgeseg.visual import Picture, colour_mask, contact_sheet


class PicturedImages(MaskedImages, Protocol):
    """A data set that shows its images."""

    def image(self, index: int) -> np.ndarray:
        """uint8 (H, W, 3)."""
        ...


def write_report(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    dataset: PicturedImages,
    *,
    title: str = "Seeds",
    worst: int = 12,
    detection: bool = True,
    crf: bool = True,
) -> Path:
    """Write the report of a folder of seeds; returns the path.

    Args:
        path: the HTML file.
        folder: seeds written by `write_seed`.
        dataset: images, ids, classes and, if there are any, true masks.
        title: heading of the page.
        worst: how many suspicious images are shown.
        detection: also compute detection mAP.
        crf: also ask a CRF, at a small size, how far each mask follows its picture's edges.

    Raises:
        ValueError: the folder holds no seed of this data set.
    """
    score = SeedScore(dataset.classes, detection=detection)
    suspects: list[tuple[float, int, Suspicion]] = []
    judged_by = {"vanished", "doubt", "extreme", "unsure"} | ({"crf"} if crf else set())
    missing, broken = 0, dict[str, str]()
    for index, identifier in enumerate(dataset.ids):
        if not has_seed(folder, identifier):
            missing += 1
            continue
        try:
            seed = read_seed(folder, identifier)
        except ValueError as error:
            broken[identifier] = str(error)
            continue
        try:
            judged, truth = suspicion(seed, dataset.image(index) if crf else None), dataset.mask(index)
        except OSError as error:
            broken[identifier] = f"photograph or true mask of {identifier}: {error}"
            continue
        judged_by.update(seed.estimates)
        suspects.append((-judged.total, index, judged))
        if truth is not None:
            score.update(seed, truth, has_scores(folder, identifier))
    if not suspects:
        warn_of_damage(folder, broken)
        raise ValueError(f"{os.fspath(folder)} holds no seed of the {len(dataset.ids)} images of this data set")
    parts = [f"<p>{len(suspects)} seeds; {missing} images of the data set have none.</p>", _tracked(folder)]
    if score.counts:
        scores = score.compute()
        parts.append(_headline(scores))
        if score.curve.update_called:
            curve = {name: values for name, values in score.curve.compute().items() if values.ndim == 1}
            parts.append(picture(curve_picture(curve), "PNG"))
        parts.append(_classes(scores))
    warn_of_damage(folder, broken)
    failed = {**failures_in(folder), **broken}
    if failed:
        parts.append("<h2>Images that failed</h2>" + table(["image", "why"], [list(row) for row in failed.items()]))
    parts.append(_outline([judged for _, _, judged in suspects], judged_by))
    if worst > 0:
        parts.append("<h2>Most suspicious first</h2>")
        parts += [_row(folder, dataset, index, judged) for _, index, judged in sorted(suspects)[:worst]]
    target = Path(path)
    with replacing(target) as temporary:
        temporary.write_text(page(title, parts), encoding="utf-8")
    return target


def curve_picture(curve: Mapping[str, Tensor]) -> Picture:
    """Draw mean IoU, precision, recall and foreground over the background threshold.

    Args:
        curve: what `SeedCurve.compute` returns.

    Returns:
        uint8 (H, W, 3).
    """
    figure = Figure(figsize=(7, 3.5), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    thresholds = curve["thresholds"].numpy()
    shown = {"miou": "mean IoU", "precision": "precision", "recall": "recall", "coverage": "share of foreground"}
    for key, label in shown.items():
        axes.plot(thresholds, curve[key].numpy(), label=label, linewidth=2.5 if key == "miou" else 1.2)
    axes.set(xlabel="background threshold", xlim=(0, 1), ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def seed_panels(image: np.ndarray, seed: Seed, truth: np.ndarray | None) -> list[Picture]:
    """Image, strongest score, pseudo-mask and, if there is one, true mask, side by side."""
    strongest = seed.scores.amax(0) if len(seed.classes) else torch.zeros(seed.size)
    grey = (strongest * 255).round().to(torch.uint8).numpy()
    panels = [image, np.repeat(grey[..., None], 3, axis=2), colour_mask(seed.mask.numpy(), image)]
    return panels if truth is None else [*panels, colour_mask(truth, image)]


def _row(folder: str | os.PathLike[str], dataset: PicturedImages, index: int, judged: Suspicion) -> str:
    seed = read_seed(folder, dataset.ids[index])
    try:
        panels = seed_panels(dataset.image(index), seed, dataset.mask(index))
    except OSError as error:
        return f"<p>{html.escape(f'{dataset.ids[index]}: {error}')}</p>"
    known = dict(enumerate(dataset.classes))
    names = ", ".join(known.get(c, f"class {c + 1}") for c in seed.classes.tolist()) or "no class"
    why = ", ".join(f"{name} {value:.2f}" for name, value in vars(judged).items() if value > 0)
    caption = f"{dataset.ids[index]}: {names} ({why or 'nothing suspicious'})"
    columns = ("image", "strongest score", "seed", "true mask")
    sheet = contact_sheet([[_thumbnail(panel) for panel in panels]], columns=columns[: len(panels)], title=caption)
    return picture(sheet, "PNG", caption)


def _thumbnail(panel: Picture, height: int = 160) -> Picture:
    width = max(1, round(panel.shape[1] * height / panel.shape[0]))
    return np.asarray(Image.fromarray(panel).resize((width, height)))


def _tracked(folder: str | os.PathLike[str]) -> str:
    """Where the folder was shown in Weights & Biases, if it was."""
    found = {key: html.escape(value) for key, value in tracked(folder).items()}
    if not found:
        return ""
    place = f"run <code>{found.get('run', '')}</code>, offline in <code>{found.get('dir', '')}</code>"
    if found.get("url", "").startswith("https://"):
        place = f'run <a href="{found["url"]}">{found.get("run", "")}</a>'
    kept = [f"{what} <code>{found[what]}</code>" for what in ("table", "artifact") if what in found]
    return f"<p>Weights &amp; Biases: {', '.join([place, *kept])}</p>"


def _headline(scores: Mapping[str, Any]) -> str:
    rows = [[COLUMNS[key], number(scores[key])] for key in COLUMNS if key in scores]
    interval = f"{number(scores['miou_low'])} to {number(scores['miou_high'])}"
    rows.insert(1, ["mIoU, 95 % interval over images", interval])
    note = (
        "<p>The mIoU is that of the masks as they are. The best mIoU cuts the scores at one threshold, taken from the "
        "true masks; masks that were refined may be better than any such cut.</p>"
    )
    return "<h2>Scores</h2>" + table(["", f"{scores['images']} images"], rows) + note


def _classes(scores: Mapping[str, Any]) -> str:
    rows = [
        [name, *(number(row[key]) for key in ("iou", "precision", "recall"))]
        for name, row in scores["per_class"].items()
        if row["iou"] == row["iou"]
    ]
    return "<h2>Classes</h2>" + table(["class", "IoU", "precision", "recall"], rows)


def _outline(judged: list[Suspicion], judged_by: set[str]) -> str:
    names = {
        "vanished": "classes that the mask does not show",
        "doubt": "doubt inside the foreground",
        "extreme": "implausible area",
        "unsure": "share of 255",
        "flip": "disagreement with the mirrored image",
        "scale": "disagreement between scales",
        "crf": "disagreement with a CRF of the mask",
    }
    means = {name: float(np.mean([getattr(one, name) for one in judged])) for name in names if name in judged_by}
    rows = [[names[name], number(mean)] for name, mean in means.items()]
    return "<h2>Without true masks</h2>" + table(["", "mean over images"], rows)
