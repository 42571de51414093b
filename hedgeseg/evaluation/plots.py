"""An evaluation's plots, drawn of the summaries of its methods."""

from __future__ import annotations

from collections.abc import Sequence
from os.path import commonprefix
from pathlib import Path

from matplotlib.figure import Figure

from hedgeseg.evaluation.summary import Summary
from hedgeseg.metrics.region_insertion import FRACTIONS
from hedgeseg.plots import Curve, Level, Sweep, curve_figure, save_figure, sweep_figure

SWEPT = {
    "pointing_game": "pointing game",
    "pixel_average_precision": "pixel AP",
    "outside_inside_ratio": "outside-inside ratio",
    "positive_ratio": "positive ratio",
    "miou": "seed mIoU",
}
PROBABILITY = "probability of the class"
PERTURBED = {
    "region_insertion": ("Accuracy with the most relevant pixels alone", "inserted pixels (%)", "accuracy"),
    "region_insertion_probability": ("The most relevant pixels alone", "inserted pixels (%)", PROBABILITY),
    "insertion": ("Insertion into the blurred image", "inserted pixels (%)", PROBABILITY),
    "deletion": ("Deletion", "deleted pixels (%)", PROBABILITY),
}
SIMILARITIES = {
    "spearman": "Spearman correlation",
    "spearman_abs": "Spearman correlation of magnitudes",
    "ssim": "structural similarity",
}


def draw(folder: Path, summaries: Sequence[Summary], layers: Sequence[str]) -> list[Path]:
    """Draw what there is to draw: insertion, deletion, thresholds, sanity, and gamma if it was varied.

    Args:
        folder: made if it is needed.
        summaries: one per method.
        layers: names of the randomised layers, in the order in which they are randomised.
    """
    figures = {
        **{name: _perturbed(summaries, name) for name in PERTURBED},
        "miou": _thresholds(summaries),
        "precision_recall": _precision_recall(summaries),
        **{f"randomization_sanity_{kind}": _sanity(summaries, kind, layers) for kind in SIMILARITIES},
    }
    written = [save_figure(figure, folder / f"{name}.png") for name, figure in figures.items() if figure is not None]
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


def _perturbed(summaries: Sequence[Summary], name: str) -> Figure | None:
    found = [summary for summary in summaries if summary.curves.get(name)]
    if not found:
        return None
    title, x, y = PERTURBED[name]
    curves = []
    for summary in found:
        values = summary.curves[name]
        share = FRACTIONS if name.startswith("region") else [i / (len(values) - 1) for i in range(len(values))]
        curves.append(Curve(summary.run.label, [100 * s for s in share], values))
    levels = []
    if name.startswith("region_insertion"):
        # What the model makes of the whole image and of none of it: the ends between which the curves can be read.
        ends = found[0].values
        levels = [
            Level(label, ends[f"{name}_{key}"].mean)
            for key, label in (("clean", "whole image"), ("canvas", "bare canvas"))
        ]
    return curve_figure(curves, f"{title} ({_maps(found, name)})", x, y, levels=levels)


def _thresholds(summaries: Sequence[Summary]) -> Figure | None:
    curves = [Curve(s.run.label, s.curves["thresholds"], s.curves["miou"]) for s in summaries if "miou" in s.curves]
    x = "threshold, relative to each map's maximum"
    return curve_figure(curves, "Seeds at every background threshold", x, "mean IoU") if curves else None


def _precision_recall(summaries: Sequence[Summary]) -> Figure | None:
    curves = [Curve(s.run.label, s.curves["recall"], s.curves["precision"]) for s in summaries if "recall" in s.curves]
    title = "Seeds: precision against recall, means over the classes"
    return curve_figure(curves, title, "recall", "precision") if curves else None


def _sanity(summaries: Sequence[Summary], kind: str, layers: Sequence[str]) -> Figure | None:
    name = f"randomization_sanity_{kind}"
    found = [summary for summary in summaries if name in summary.curves]
    if not found:
        return None
    curves = [Curve(s.run.label, list(range(len(s.curves[name]))), s.curves[name]) for s in found]
    title = f"Likeness to the map of the trained model ({_maps(found, 'randomization_sanity')})"
    low = 0.0 if kind == "ssim" else -1.0
    return curve_figure(
        curves, title, "layers randomised, up to and with", SIMILARITIES[kind], _short(layers), limits=(low, 1.0)
    )


def _maps(summaries: Sequence[Summary], name: str) -> str:
    count = max(summary.counts.get(name, 0) for summary in summaries)
    return "1 map" if count == 1 else f"mean of {count} maps"


def _short(layers: Sequence[str]) -> list[str]:
    """Names without the beginning that all share."""
    shared = commonprefix([name.split(".")[:-1] for name in layers])
    return [".".join(name.split(".")[len(shared) :]) for name in layers]
