"""An evaluation's plots, drawn of the summaries of its methods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hedgeseg.evaluation.summary import Summary
from hedgeseg.metrics.region_insertion import FRACTIONS
from hedgeseg.plots import Curve, Sweep, curve_figure, save_figure, sweep_figure

SWEPT = {
    "pointing_game": "pointing game",
    "pixel_average_precision": "pixel AP",
    "outside_inside_ratio": "outside-inside ratio",
    "positive_ratio": "positive ratio",
    "miou": "seed mIoU",
}


def draw(folder: Path, summaries: Sequence[Summary], layers: Sequence[str]) -> list[Path]:
    """Draw what there is to draw: insertion, deletion, thresholds, sanity, and gamma if it was varied.

    Args:
        folder: made if it is needed.
        summaries: one per method.
        layers: names of the randomised layers, from the logits down.
    """
    written = []
    percent = [100 * fraction for fraction in FRACTIONS]
    for name, title, x, y in (
        ("region_insertion", "Accuracy with the most relevant pixels alone", "inserted pixels (%)", "accuracy"),
        ("insertion", "Insertion into the blurred image", "inserted pixels (%)", "probability of the class"),
        ("deletion", "Deletion", "deleted pixels (%)", "probability of the class"),
        ("miou", "Seeds at every background threshold", "threshold", "mean IoU"),
    ):
        curves = []
        for summary in summaries:
            values = summary.curves.get(name)
            if values:
                if name == "region_insertion":
                    at = percent
                elif name == "miou":
                    at = summary.curves["thresholds"]
                else:
                    at = [100 * i / (len(values) - 1) for i in range(len(values))]
                curves.append(Curve(summary.run.label, at, values))
        if curves:
            written.append(save_figure(curve_figure(curves, title, x, y), folder / f"{name}.png"))
    curves = [Curve(s.run.label, s.curves["recall"], s.curves["precision"]) for s in summaries if "recall" in s.curves]
    if curves:
        figure = curve_figure(curves, "Seeds: precision against recall", "recall", "precision")
        written.append(save_figure(figure, folder / "precision_recall.png"))
    written += _sanity(folder, summaries, layers)
    sweeps = gamma_sweeps(summaries)
    if sweeps:
        written.append(save_figure(sweep_figure(sweeps, "gamma"), folder / "gamma.png"))
    return written


def gamma_sweeps(summaries: Sequence[Summary]) -> list[Sweep]:
    """The values of hedging over gamma, where runs differ in nothing else."""
    groups: dict[str, list[Summary]] = {}
    for summary in summaries:
        settings = summary.run.settings
        if "gamma" in settings:
            others = {name: value for name, value in settings.items() if name != "gamma"}
            groups.setdefault(repr(sorted(others.items(), key=lambda item: item[0])), []).append(summary)
    members = max(groups.values(), key=len, default=[])
    if len(members) < 3:
        return []
    members = sorted(members, key=lambda summary: float(summary.run.settings["gamma"]))
    at = [float(summary.run.settings["gamma"]) for summary in members]
    return [
        Sweep(title, at, *([getattr(s.values[name], end) for s in members] for end in ("mean", "low", "high")))
        for name, title in SWEPT.items()
        if all(name in summary.values for summary in members)
    ]


def _sanity(folder: Path, summaries: Sequence[Summary], layers: Sequence[str]) -> list[Path]:
    written = []
    for kind in ("spearman", "spearman_abs", "ssim"):
        name = f"randomization_sanity_{kind}"
        curves = [
            Curve(s.run.label, list(range(len(s.curves[name]))), s.curves[name]) for s in summaries if name in s.curves
        ]
        if curves:
            figure = curve_figure(
                curves, "Randomised from the logits down", "randomised down to", f"similarity ({kind})", ticks=layers
            )
            written.append(save_figure(figure, folder / f"{name}.png"))
    return written
