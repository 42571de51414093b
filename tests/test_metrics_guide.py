"""docs/metrics.md: its snippet runs, it names every metric, and every name in it exists."""

import re

import pytest
from documents import ROOT, run_python
from torchmetrics import Metric

from hedgeseg import metrics

PAGE = "docs/metrics.md"


def test_the_snippet_runs():
    names = run_python(PAGE, {})
    assert 0 <= names["metric"].compute()["pointing_game"].item() <= 1


def test_every_metric_is_in_the_guide():
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    known = [
        n for n in metrics.__all__ if isinstance(getattr(metrics, n), type) and issubclass(getattr(metrics, n), Metric)
    ]
    assert len(known) >= 13
    for name in known:
        assert f"`{name}`" in text or f"### {name}" in text or f"`{name}(" in text, name


@pytest.mark.parametrize(
    "name", ["evaluate_maps", "compare_scores", "confidence_interval", "difficult_pairs", "smoothed"]
)
def test_functions_of_the_guide_exist(name):
    assert re.search(rf"\b{name}\b", (ROOT / PAGE).read_text(encoding="utf-8"))
    assert callable(getattr(metrics, name))
