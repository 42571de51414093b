"""The paper's evaluation: methods scored image by image, into tables with intervals, comparisons and plots.

An `Evaluator` explains annotated images (`Case`) by a list of methods (`MethodRun`) and scores the maps as a `Protocol`
asks. Every image's numbers are on disk at once, so a run that was stopped goes on where it was; `write_report` makes
tables and plots of what is there.
"""

from hedgeseg.evaluation.annotations import Annotations, make_case
from hedgeseg.evaluation.case import Case, select
from hedgeseg.evaluation.evaluator import Evaluator
from hedgeseg.evaluation.method_run import MethodRun
from hedgeseg.evaluation.protocol import Protocol
from hedgeseg.evaluation.report import write_report
from hedgeseg.evaluation.summary import Summary, read_summaries, summarize_run

__all__ = [
    "Annotations",
    "Case",
    "Evaluator",
    "MethodRun",
    "Protocol",
    "Summary",
    "make_case",
    "read_summaries",
    "select",
    "summarize_run",
    "write_report",
]
