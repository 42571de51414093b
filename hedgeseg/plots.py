"""Plots of results: curves of several methods, and values over an option with their intervals.

Every function makes a figure of its own, without pyplot: nothing global is touched, no window opens, and figures need
not be closed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 6.4, 4.2
# Colours of Okabe and Ito, which the colour-blind can tell apart, then line styles for more than eight methods.
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C")
_STYLES = ("-", "--", ":", "-.")
_LEGEND_INSIDE = 8


@dataclass(frozen=True)
class Curve:
    """One line: its name and its points."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Level:
    """A horizontal line to read the curves against."""

    label: str
    y: float


@dataclass(frozen=True)
class Sweep:
    """A value over an option: means and the ends of their intervals."""

    label: str
    x: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def curve_figure(
    curves: Sequence[Curve],
    title: str,
    x: str,
    y: str,
    ticks: Sequence[str] = (),
    levels: Sequence[Level] = (),
    limits: tuple[float, float] | None = None,
) -> Figure:
    """All curves in one plot, the first one thick.

    Args:
        curves: at least one.
        title: on top.
        x: name of the horizontal axis.
        y: name of the vertical axis.
        ticks: names of the positions 0, 1, ... on the horizontal axis; empty for numbers.
        levels: lines to read the curves against, thin and grey.
        limits: values that the vertical axis shows in any case.
    """
    beside = len(curves) + len(levels) > _LEGEND_INSIDE
    figure = Figure(figsize=(_WIDTH + 2.4 * beside, _HEIGHT + 0.8 * bool(ticks)), layout="constrained")
    axes = figure.add_subplot()
    for index, curve in enumerate(curves):
        colour, style = _COLOURS[index % len(_COLOURS)], _STYLES[index // len(_COLOURS) % len(_STYLES)]
        axes.plot(
            curve.x, curve.y, color=colour, linestyle=style, linewidth=2.4 if index == 0 else 1.4, label=curve.label,
            marker="o" if ticks else None, markersize=3,
        )  # fmt: skip
    for level, style in zip(levels, _STYLES[1:], strict=False):
        axes.axhline(level.y, color="#555555", linestyle=style, linewidth=1, label=level.label)
    if limits is not None:
        axes.update_datalim([(0, limit) for limit in limits], updatex=False)
    if ticks:
        axes.set_xticks(range(len(ticks)), ticks, rotation=35, ha="right", fontsize=7)
    _dress(axes, title, x, y)
    if beside:
        axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    else:
        axes.legend(fontsize=8, frameon=False)
    return figure


def sweep_figure(sweeps: Sequence[Sweep], x: str) -> Figure:
    """One small plot per value, its 95 % interval shaded.

    Args:
        sweeps: at least one.
        x: name of the option.
    """
    columns = min(3, len(sweeps))
    rows = -(-len(sweeps) // columns)
    figure = Figure(figsize=(3.1 * columns, 2.6 * rows), layout="constrained")
    for index, sweep in enumerate(sweeps):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.fill_between(sweep.x, sweep.low, sweep.high, color=_COLOURS[1], alpha=0.15, linewidth=0)
        axes.plot(sweep.x, sweep.mean, color=_COLOURS[1], marker="o", markersize=4)
        _dress(axes, sweep.label, x, "")
    figure.suptitle("Means with their 95 % intervals", fontsize=10)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as a PNG."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=150)
    return target


def _dress(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
