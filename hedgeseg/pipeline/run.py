"""The pipeline: stages in their order, each skipped, resumed or made anew; then scores, a table and a report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from hedgeseg.pipeline.record import RECORD, StageRecord, open_stage, running
from hedgeseg.pipeline.rehearsal import rehearse
from hedgeseg.pipeline.report import write_report
from hedgeseg.pipeline.scoring import score_masks
from hedgeseg.pipeline.settings import STAGES
from hedgeseg.pipeline.stages import FEATURES, NEEDS, RUNS
from hedgeseg.pipeline.training import LAST
from hedgeseg.pipeline.work import Work, mask_folder, own_settings
from hedgeseg.seeds.table import write_scores

RESULT = "pipeline.json"
REPORT = "report.html"
SCORED = {"seeds": "train", "pseudo_masks": "train", "masks": "val", "supervised": "val"}
"""Stage -> images whose masks are scored."""


def run_pipeline(
    work: Work,
    stages: Sequence[str] = (),
    *,
    compare: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run the stages that are not done, score what there are true masks for, and write `pipeline.json` and the report.

    Args:
        work: settings, images and folders.
        stages: names of those to run; all without.
        compare: also train the yardstick on the true masks.
        say: is told one line at a time what happens.

    Returns:
        The content of `pipeline.json`: `classifier`, `seeds`, `pseudo_masks`, `segmenter`, `supervised`, `ratio` (None
        where not measured), `agreement` and `seconds` by stage.

    Raises:
        ValueError: an unknown stage, one whose needs are not there, or settings with which one would fail.
    """
    for stage in stages:
        if stage not in STAGES:
            raise ValueError(f"there is no stage {stage!r}; there are {', '.join(STAGES)}")
    wanted = [stage for stage in STAGES if (stage in stages if stages else stage != "supervised" or compare)]
    rehearse(work, [stage for stage in wanted if not _done_so(work, stage)])
    records: dict[str, StageRecord] = {}
    for number, stage in enumerate(wanted, start=1):
        record = _record(work, stage, records)
        title = f"[{number}/{len(wanted)}] {stage}"
        if record.changed:
            say(f"{title}: made anew, as settings have changed: {'; '.join(record.changed[:5])}")
        if record.result is not None:
            say(f"{title}: done before ({_time(record.seconds)})")
            continue
        say(f"{title}: {'goes on' if record.seconds > 1 else 'begins'}")
        with running(record):
            result = RUNS[stage](work)
        record.finish(result)
        (record.folder / LAST).unlink(missing_ok=True)
        say(f"{title}: done in {_time(record.seconds)}")
    shutil.rmtree(work.folder(FEATURES), ignore_errors=True)
    found = summary(work)
    write_scores(work.out / RESULT, found)
    write_report(work.out / REPORT, work, found)
    return found


def summary(work: Work) -> dict[str, Any]:
    """What `pipeline.json` holds, from the stages that are done."""
    results = {stage: _stored(work, stage) for stage in STAGES}
    scores: dict[str, Any] = dict.fromkeys(SCORED)
    for stage, part in SCORED.items():
        if results[stage] is not None and work.truth is not None:
            scores[stage] = score_masks(mask_folder(work, stage), getattr(work.truth, part))
    own, twin = scores["masks"], scores["supervised"]
    trained = results["segmenter"]
    return {
        "classifier": None if results["classifier"] is None else results["classifier"].result,
        "seeds": scores["seeds"],
        "pseudo_masks": scores["pseudo_masks"],
        "segmenter": own,
        "supervised": twin,
        "ratio": own["miou"] / twin["miou"] if own and twin and twin["miou"] else None,
        "agreement": None if trained is None or trained.result is None else trained.result["pseudo_miou"],
        "seconds": {stage: round(record.seconds, 1) for stage, record in results.items() if record is not None},
        "images": {"train": len(work.images.train), "val": len(work.images.val)},
        "classes": list(work.images.classes),
    }


def _record(work: Work, stage: str, records: dict[str, StageRecord]) -> StageRecord:
    """Open a stage; its settings are its own, those of the images, and those of the stages that it needs."""
    needs = {}
    for other in NEEDS[stage]:
        found = records.get(other) or _stored(work, other)
        if found is None or found.result is None:
            raise ValueError(f"{stage} needs the stage {other}, which is not done in {work.out}: run it first")
        needs[other] = found.digest
    settings = {**own_settings(work.settings, stage), "images": work.images.fingerprint(), "needs": needs}
    records[stage] = open_stage(work.folder(stage), settings)
    return records[stage]


def _done_so(work: Work, stage: str) -> bool:
    """Whether a stage is done, with settings as they are now, and those that it needs as well."""
    found = _stored(work, stage)
    own = json.loads(json.dumps(own_settings(work.settings, stage)))
    same = found is not None and all(found.settings.get(key) == value for key, value in own.items())
    return same and all(_done_so(work, other) for other in NEEDS[stage])


def _stored(work: Work, stage: str) -> StageRecord | None:
    """The record of a stage that is done."""
    path = work.folder(stage) / RECORD
    if not path.is_file():
        return None
    stored = json.loads(path.read_text(encoding="utf-8"))
    if stored["result"] is None:
        return None
    return StageRecord(
        work.folder(stage), stored["settings"], stored["digest"], stored["result"], float(stored["seconds"])
    )


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
