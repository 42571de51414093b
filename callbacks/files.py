"""A look on disk: PNG panels, a sheet of them, the numbers as JSON, and at the end of a fit an animation per image."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from hedgeseg.callbacks.snapshot import Panel, Snapshot
from hedgeseg.visual import Picture, contact_sheet


class Files:
    """Writes each look into a folder of its own.

    Args:
        folder: made when it is needed.
        frames: where the panels of each watched image are noted, look after look, for an animation.
    """

    def __init__(self, folder: Path, frames: dict[str, list[Path]]) -> None:
        self.folder = folder
        self.frames = frames

    def drawing(self, look: Snapshot, suffix: str, panel: Panel) -> Path:
        """Where the drawing of a panel is written."""
        return self.folder / look.folder / suffix.strip("/") / f"{panel.name}.png"

    def picture(self, suffix: str, panel: Panel) -> Path:
        """Where the plain image is written, once for all looks."""
        return self.folder / "images" / suffix.strip("/") / f"{panel.name}.png"

    def show(self, look: Snapshot) -> None:
        """Write one look."""
        for suffix, panels in look.panels.items():
            for panel in panels:
                path = self.drawing(look, suffix, panel)
                _write_png(path, panel.drawing)
                self.frames.setdefault(f"{suffix}/{panel.name}".strip("/"), []).append(path)
                if not self.picture(suffix, panel).is_file() or look.stage != "fit":
                    _write_png(self.picture(suffix, panel), panel.picture)
            if panels:
                sheet = Image.fromarray(contact_sheet([[panel.drawing] for panel in panels], gap=12))
                sheet.save(self.drawing(look, suffix, panels[0]).with_name("sheet.jpg"), quality=90)
        record = {
            "stage": look.stage,
            "epoch": look.epoch,
            "step": look.step,
            "metrics": _finite(look.numbers),
            "maps": [_finite(row) for row in look.rows()],
        }
        path = self.folder / look.folder / "look.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def show_animations(self, prefix: str, animations: Mapping[str, Path], step: int) -> None:
        """Nothing to do: the animations are files already."""


def _finite(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record that JSON can hold: NaN and infinity become null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}


def write_animations(frames: Mapping[str, Sequence[Path]], folder: Path) -> dict[str, Path]:
    """Write one GIF per watched image of which there are several panels; returns their paths by name."""
    animations = {}
    for name, paths in frames.items():
        present = [path for path in paths if path.is_file()]
        if len(present) > 1:
            animations[name] = folder / f"{name}.gif"
            animations[name].parent.mkdir(parents=True, exist_ok=True)
            _write_gif(present, animations[name])
    return animations


def _write_gif(frames: Sequence[Path], path: Path, milliseconds: int = 600) -> None:
    """Join panels of one image; the last frame stays longer."""
    pictures = [Image.open(frame).convert("RGB") for frame in frames]
    size = (max(p.width for p in pictures), max(p.height for p in pictures))
    padded = [Image.new("RGB", size, (255, 255, 255)) for _ in pictures]
    for sheet, picture in zip(padded, pictures, strict=True):
        sheet.paste(picture)
    durations: Any = [milliseconds] * (len(padded) - 1) + [4 * milliseconds]
    padded[0].save(path, save_all=True, append_images=padded[1:], duration=durations, loop=0)


def _write_png(path: Path, picture: Picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Compressing is most of what a look costs, and the lowest level makes files that are hardly larger.
    Image.fromarray(picture).save(path, compress_level=1)
