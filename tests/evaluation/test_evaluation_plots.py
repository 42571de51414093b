"""An evaluation's plots: which there are, of what, and with which labels."""

import pytest

from hedgeseg.evaluation import MethodRun, plots
from hedgeseg.evaluation.journal import Record
from hedgeseg.evaluation.summary import summarize_run


def record(name, height):
    insertion = "region_insertion"
    return Record(
        id=name,
        classes=(0,),
        seconds=1.0,
        values={
            "pointing_game": [height],
            insertion: [height], f"{insertion}_clean": [0.9], f"{insertion}_canvas": [0.1],
            "deletion": [height], "randomization_sanity": [height],
        },
        curves={
            insertion: [[height] * 20],
            "deletion": [[1.0, height, 0.0]],
            "randomization_sanity_spearman": [[1.0, height]],
            "randomization_sanity_ssim": [[1.0, height]],
        },
        seed=([0, 7, 8], [10, 5, 5]),
    )  # fmt: skip


def summary(text, *heights):
    records = [record(f"image{i}", height) for i, height in enumerate(heights)]
    return summarize_run(MethodRun.parse(text), records, num_classes=2, bins=2, resamples=10)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """The figures that are drawn, by file name."""
    figures = {}

    def keep(figure, path):
        figures[path.name] = figure
        return path

    monkeypatch.setattr(plots, "save_figure", keep)
    found = [summary("hedge", 0.5, 0.7), summary("hedge gamma=1.5", 0.4), summary("hedge gamma=2.0", 0.3)]
    written = plots.draw(tmp_path, found, ["net.head.1", "net.features.0"])
    assert [path.name for path in written] == list(figures)
    return figures


def test_what_there_is_to_draw_is_drawn(drawn):
    assert list(drawn) == [
        "region_insertion.png", "deletion.png", "miou.png", "precision_recall.png",
        "randomization_sanity_spearman.png", "randomization_sanity_ssim.png", "gamma.png",
    ]  # fmt: skip


def test_insertion_is_over_percent_between_whole_image_and_canvas(drawn):
    (axes,) = drawn["region_insertion.png"].axes
    assert list(axes.lines[0].get_xdata()) == pytest.approx(range(1, 21))
    assert axes.lines[0].get_ydata()[0] == pytest.approx(0.6)
    assert "mean of 2 maps" in axes.get_title()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["hedge", "hedge gamma=1.5", "hedge gamma=2.0", "whole image", "bare canvas"]
    assert axes.lines[3].get_ydata()[0] == pytest.approx(0.9)
    (axes,) = drawn["deletion.png"].axes
    assert list(axes.lines[0].get_xdata()) == [0, 50, 100]


def test_sanity_curves_name_their_layers_and_show_the_whole_range(drawn):
    (axes,) = drawn["randomization_sanity_spearman.png"].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["head.1", "features.0"]
    assert axes.get_ylabel() == "Spearman correlation"
    assert axes.get_ylim()[0] <= -1
    assert drawn["randomization_sanity_ssim.png"].axes[0].get_ylim()[0] > -0.5


def test_the_gamma_sweep_has_the_values_in_order(drawn):
    first = drawn["gamma.png"].axes[0]
    assert first.get_title() == "pointing game"
    assert list(first.lines[0].get_xdata()) == [1.0, 1.5, 2.0]
    assert list(first.lines[0].get_ydata()) == pytest.approx([0.6, 0.4, 0.3])
    assert plots.gamma_sweeps([summary("hedge", 0.5), summary("hedge gamma=2.0", 0.5)]) == []
