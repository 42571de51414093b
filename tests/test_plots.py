"""Figures hold what they were given: curves, labels, levels, intervals; and files are written."""

import pytest
from matplotlib import colors
from PIL import Image

from hedgeseg.plots import Curve, Level, Sweep, curve_figure, save_figure, sweep_figure

CURVES = [Curve("hedge", [0, 50, 100], [0.1, 0.6, 0.7]), Curve("grad_cam", [0, 50, 100], [0.1, 0.4, 0.7])]


def test_curves_are_drawn_with_their_names_and_axes():
    figure = curve_figure(CURVES, "Insertion", "pixels (%)", "probability", levels=[Level("whole image", 0.9)])
    (axes,) = figure.axes
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("Insertion", "pixels (%)", "probability")
    first, second, level = axes.lines
    assert list(first.get_xdata()) == [0, 50, 100]
    assert list(second.get_ydata()) == [0.1, 0.4, 0.7]
    assert first.get_linewidth() > second.get_linewidth()
    assert set(level.get_ydata()) == {0.9}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["hedge", "grad_cam", "whole image"]


def test_positions_have_names_and_the_axis_its_limits():
    figure = curve_figure(CURVES, "", "layer", "", ticks=["logits", "middle", "image"], limits=(-1, 1))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["logits", "middle", "image"]
    low, high = axes.get_ylim()
    assert low <= -1
    assert high >= 1


def test_many_curves_differ_and_have_their_legend_beside_them():
    curves = [Curve(f"method {i}", [0, 1], [0, i]) for i in range(20)]
    figure = curve_figure(curves, "", "", "")
    (axes,) = figure.axes
    looks = {(colors.to_hex(line.get_color()), line.get_linestyle()) for line in axes.lines}
    assert len(looks) == 20
    assert figure.get_figwidth() > curve_figure(CURVES, "", "", "").get_figwidth()
    box = axes.get_legend().get_bbox_to_anchor().transformed(axes.transAxes.inverted())
    assert box.x0 == pytest.approx(1.0)


def test_a_sweep_shades_its_interval():
    sweeps = [Sweep(f"value {i}", [1.0, 2.0], [0.5, 0.6], [0.4, 0.5], [0.6, 0.7]) for i in range(4)]
    figure = sweep_figure(sweeps, "gamma")
    assert [axes.get_title() for axes in figure.axes] == [f"value {i}" for i in range(4)]
    axes = figure.axes[3]
    assert axes.get_xlabel() == "gamma"
    assert list(axes.lines[0].get_ydata()) == [0.5, 0.6]
    corners = axes.collections[0].get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == (0.4, 0.7)


def test_a_file_is_written_and_shows_the_curves(tmp_path):
    path = save_figure(curve_figure(CURVES, "Insertion", "x", "y"), tmp_path / "new" / "plot.png")
    with Image.open(path) as picture:
        assert picture.size == (960, 630)
        counts = picture.convert("RGB").getcolors(1 << 20)
    seen = {colour for count, colour in counts if count > 100}
    assert {(255, 255, 255), (0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2)} <= seen
