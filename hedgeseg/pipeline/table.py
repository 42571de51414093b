"""What came of a pipeline, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hedgeseg.seeds.table import markdown

ROWS = {
    "seeds": "seeds, images learnt from",
    "pseudo_masks": "pseudo-masks, images learnt from",
    "segmenter": "segmentation network, held back",
    "supervised": "the same from true masks, held back",
}


def result_table(found: Mapping[str, Any]) -> str:
    """One row per stage, from the content of `pipeline.json`; a dash for what was not measured."""
    header = ["", "n", "mIoU", "95 %", "good painted"]
    body = []
    for key, title in ROWS.items():
        score = found[key] or {}
        interval = f"{score['miou_low']:.3f}-{score['miou_high']:.3f}" if "miou_low" in score else "-"
        painted = score.get("free_painted")
        body.append(
            [
                title,
                str(score.get("images", "-")),
                number(score.get("miou")),
                interval,
                "-" if painted is None else f"{painted:.2%}",
            ]
        )
    told = found["classifier"] or {}
    lines = [markdown(header, body), ""]
    if told:
        lines.append(f"classifier: {told['metric']} {number(told['value'])} on the held back images")
    if found["agreement"] is not None:
        lines.append(
            f"agreement of the network with the pseudo-masks of the held back images: {found['agreement']:.3f}"
        )
    if found["ratio"] is not None:
        lines.append(f"ratio to the network from true masks: {found['ratio']:.3f}")
    spent = ", ".join(f"{stage} {seconds / 60:.1f}" for stage, seconds in found["seconds"].items())
    lines.append(f"minutes: {spent}; together {sum(found['seconds'].values()) / 60:.1f}")
    return "\n".join(lines)


def class_rows(found: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """IoU of every class in every stage that was measured: header and rows."""
    measured = [key for key in ROWS if found[key]]
    names = ["background", *found["classes"]]
    header = ["class", *(ROWS[key] for key in measured)]
    rows = [[name, *(number(found[key]["per_class"].get(name)) for key in measured)] for name in names]
    return header, [row for row in rows if any(cell != "-" for cell in row[1:])]


def number(value: float | None) -> str:
    """Three digits, or a dash."""
    return "-" if value is None or value != value else f"{value:.3f}"
