"""Tables and plots of what an evaluation's folder knows so far."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hedgeseg.evaluation.comparison import compare_summaries
from hedgeseg.evaluation.evaluator import JOURNALS, SETTINGS
from hedgeseg.evaluation.summary import Summary, read_summaries
from hedgeseg.evaluation.tables import comparison_csv, comparison_table, summary_csv, summary_table
from hedgeseg.metrics import Comparison
from hedgeseg.seeds.formats.files import replacing
from hedgeseg.seeds.table import write_scores

Comparisons = dict[tuple[str, str], dict[str, Comparison]]


def write_report(
    folder: str | os.PathLike[str],
    compare: Sequence[tuple[str, str]] | None = None,
    plots: bool = True,
    resamples: int = 1000,
) -> str:
    """Write `results.json`, `results.csv`, `comparisons.csv`, `results.md` and `plots/*.png` into the folder.

    Args:
        folder: filled by an `Evaluator`.
        compare: pairs of labels; None compares every method with the first.
        plots: also draw the plots.
        resamples: of the intervals and p-values.

    Returns:
        The markdown.

    Raises:
        FileNotFoundError: the folder holds no evaluation.
        ValueError: it holds no image's results yet, or a label to compare is not there.
    """
    root = Path(folder)
    if not (root / SETTINGS).is_file():
        raise FileNotFoundError(f"{root} holds no evaluation: it has no {SETTINGS}")
    settings = json.loads((root / SETTINGS).read_text(encoding="utf-8"))
    classes, bins = settings["num_classes"], settings["protocol"]["seed_bins"]
    summaries = [s for s in read_summaries(root / JOURNALS, classes, bins, resamples) if s.records]
    if not summaries:
        raise ValueError(f"{root} holds no results: no image has been explained yet")
    comparisons = _comparisons(summaries, compare, classes, bins, resamples)
    text = summary_table(summaries)
    if comparisons:
        text += (
            "\n\n## Paired differences\n\nOn the maps of both, with 95 % interval and sign-flip p-value.\n\n"
            + comparison_table(comparisons)
        )
    _write(root / "results.md", text + "\n")
    _write(root / "results.csv", summary_csv(summaries))
    _write(root / "comparisons.csv", comparison_csv(comparisons))
    write_scores(root / "results.json", as_json(settings, summaries, comparisons))
    if plots:
        from hedgeseg.evaluation.plots import draw

        draw(root / "plots", summaries, settings["layers"])
    return text


def as_json(settings: dict[str, Any], summaries: Sequence[Summary], comparisons: Comparisons) -> dict[str, Any]:
    """Everything that is known, as plain numbers."""
    return {
        **settings,
        "methods": [summary.as_json() for summary in summaries],
        "comparisons": [
            {"first": first, "second": second, "values": {name: vars(c) for name, c in row.items()}}
            for (first, second), row in comparisons.items()
        ],
    }


def _comparisons(
    summaries: Sequence[Summary], pairs: Sequence[tuple[str, str]] | None, classes: int, bins: int, resamples: int
) -> Comparisons:
    by_label = {summary.run.label: summary for summary in summaries}
    if pairs is None:
        first = summaries[0].run.label
        pairs = [(first, other) for other in by_label if other != first]
    unknown = [label for pair in pairs for label in pair if label not in by_label]
    if unknown:
        raise ValueError(f"cannot compare {unknown[0]!r}: the folder holds {', '.join(map(repr, by_label))}")
    return {
        (first, second): compare_summaries(by_label[first], by_label[second], classes, bins, resamples)
        for first, second in pairs
    }


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
