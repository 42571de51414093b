"""What a logger gets of an audit: a table of its images, bars per class, one alert; a sheet for TensorBoard."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from PIL import Image

from hedgeseg.audit.findings import Findings
from hedgeseg.callbacks.panels import wandb_bars, wandb_image, wandb_runs, wandb_table
from hedgeseg.class_names import ClassNames
from hedgeseg.visual import Picture, contact_sheet

BARS = ("accuracy", "pointing", "outside_inside", "border", "corners", "mirror", "removal_drop")
"""Numbers of an audit that are drawn as bars per class."""


def log_audit(
    loggers: Sequence[Logger], findings: Findings, classes: Sequence[str], alerts: Sequence[str], rows: int
) -> None:
    """Show an audit in Weights & Biases, and the first images to look at in TensorBoard.

    Args:
        loggers: of the run.
        findings: of the audit.
        classes: names by index.
        alerts: what crossed a bound, in words.
        rows: of the table at most, the most suspicious first.
    """
    for run in wandb_runs(loggers):
        _in_wandb(run, findings, ClassNames(tuple(classes)), alerts, rows)
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger) and findings.evidence[0].thumbnail:
            sheet = audit_sheet(findings, classes)
            logger.experiment.add_image("audit/first_to_look_at", sheet, 0, dataformats="HWC")


def _in_wandb(run: Any, findings: Findings, called: ClassNames, alerts: Sequence[str], rows: int) -> None:
    logged: dict[str, Any] = {"audit/images": _table(findings, called, rows)}
    for name in BARS:
        values = [
            [called[index], numbers[name]]
            for index, numbers in findings.per_class.items()
            if numbers.get(name) is not None and numbers[name] == numbers[name]
        ]
        if values:
            logged[f"audit/{name}"] = wandb_bars(values, "class", name)
    run.log(logged)
    run.summary.update({f"audit/{name}": value for name, value in findings.overall.items() if value == value})
    run.summary["audit/flagged"] = sum(cluster.flagged for cluster in findings.clusters)
    if alerts:
        run.alert(title="hedgeseg audit", text="\n".join(alerts), level="WARN")


def _table(findings: Findings, called: ClassNames, rows: int) -> Any:
    """A row for every image, with its picture and all its numbers."""
    names = sorted(findings.overall.keys() - {"images", "accuracy"})
    columns = ["image", "id", "split", "class", "probability", "correct", *names, "cluster", "flagged", "reasons"]
    flagged = {(c.class_index, i) for c in findings.clusters if c.flagged for i in c.members}
    filled = []
    for i in findings.order[:rows]:
        entry = findings.evidence[i]
        filled.append(
            [
                wandb_image(decoded(entry.thumbnail)) if entry.thumbnail else None,
                entry.id,
                entry.split,
                called[entry.class_index],
                entry.probability,
                entry.correct,
                *(entry.numbers.get(name) for name in names),
                findings.cluster_of[i],
                (entry.class_index, i) in flagged,
                "; ".join(findings.reasons[i]),
            ]
        )
    return wandb_table(columns, filled)


def audit_sheet(findings: Findings, classes: Sequence[str], count: int = 12) -> Picture:
    """The most suspicious images of an audit on one sheet, with the reasons."""
    chosen = [findings.evidence[i] for i in findings.order[:count]]
    reasons = [findings.reasons[i] for i in findings.order[:count]]
    called = ClassNames(tuple(classes))
    captions = [
        f"{entry.id}: {called[entry.class_index]} {entry.probability:.2f}; {'; '.join(why) or 'nothing odd'}"
        for entry, why in zip(chosen, reasons, strict=True)
    ]
    return contact_sheet([[decoded(entry.thumbnail)] for entry in chosen], rows=captions)


def decoded(jpeg: bytes) -> Picture:
    """The pixels of a JPEG file, uint8 `(H, W, 3)`."""
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
