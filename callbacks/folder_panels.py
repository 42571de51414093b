"""A folder of seeds or masks in Weights & Biases: the same images in a table and as a panel, and the folder itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger

from hedgeseg.callbacks.panels import keep_in_wandb, wandb_image, wandb_runs, wandb_table
from hedgeseg.visual import Picture


@dataclass(frozen=True, eq=False)
class FolderRow:
    """An image of a folder of seeds or masks.

    Attributes:
        id: of the image.
        picture: uint8 `(H, W, 3)`.
        masks: `prediction`, and `ground_truth` where it is known, uint8 `(H, W)`.
    """

    id: str
    picture: Picture
    masks: Mapping[str, np.ndarray]


def log_folder(
    loggers: Sequence[Logger],
    folder: Path,
    noun: str,
    rows: Sequence[FolderRow],
    classes: Sequence[str],
    manifest: Mapping[str, Any] | None,
) -> dict[str, str] | None:
    """Show a folder.

    Args:
        loggers: of the run.
        folder: what is shown.
        noun: "seed" or "mask".
        rows: of the table `<noun>s/<folder>`.
        classes: names by index.
        manifest: of the folder; it is kept as an Artifact with this as metadata. None keeps nothing.

    Returns:
        Where it is shown: `run`, `url` (empty offline), `dir`, `table`, `artifact`; None without such a logger.
    """
    runs = wandb_runs(loggers)
    if not runs:
        return None
    (run, *_), found = runs, {"table": "", "artifact": ""}
    if rows:
        names = {0: "background", **{i + 1: name for i, name in enumerate(classes) if i < 254}, 255: "void"}
        cells, images = [], []
        for row in rows:
            shown = ", ".join(names.get(i, f"class {i - 1}") for i in np.unique(row.masks["prediction"]).tolist() if i)
            # An image that is in a table already is not drawn again elsewhere: each gets one of its own.
            images.append(wandb_image(row.picture, row.masks, names, f"{row.id}: {shown}"))
            cells.append([row.id, wandb_image(row.picture, row.masks, names), shown])
        found["table"] = f"{noun}s/{folder.name}"
        run.log({found["table"]: wandb_table(["id", "image", "classes"], cells), f"{found['table']}/images": images})
    if manifest is not None:
        found["artifact"] = keep_in_wandb(run, folder, f"{noun}s-{folder.name}", f"{noun}s", manifest)
    return {"run": str(run.id), "url": str(getattr(run, "url", None) or ""), "dir": str(run.dir), **found}
