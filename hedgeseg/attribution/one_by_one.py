"""Images explained one at a time, for networks in which a batch can't be told apart on the tape."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from hedgeseg.attribution.coupling import deviation, refusal, rounding
from hedgeseg.attribution.errors import NonFiniteError, UnsupportedModelError
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.recording import MixedImagesError
from hedgeseg.attribution.sweep import Conservation


def explain_safely(method: Method, problem: Problem, options: dict[str, Any]) -> Explanation:
    """Explain a batch, or its images one at a time where the batch can't be told apart.

    Raises:
        UnsupportedModelError: If the model mixes the images of a batch: its logits for an image alone are others, or it
            does not take an image alone.
    """
    try:
        return method.explain(problem, **options)
    except MixedImagesError as mixed:
        return _one_by_one(method, problem, options, mixed)


def _one_by_one(method: Method, problem: Problem, options: dict[str, Any], mixed: MixedImagesError) -> Explanation:
    parts: list[Explanation] = []
    reports: list[list[Conservation]] = []
    for i in range(len(problem.images)):
        report: list[Conservation] | None = None if problem.report is None else []
        alone = replace(problem, images=problem.images[i : i + 1], targets=problem.targets[i : i + 1], report=report)
        try:
            parts.append(method.explain(alone, **options))
        except NonFiniteError as error:
            raise error.renamed([i]) from None
        except Exception as error:
            if i == 0 and not _runs_alone(alone):
                raise _refusal(mixed, "it does not take an image alone") from error
            raise
        logits = parts[-1].logits
        if deviation(logits, mixed.logits[i : i + 1]) > rounding(logits.dtype):
            raise _refusal(mixed, f"the logits of image {i} are others when it comes alone")
        reports.append(report or [])
    if problem.report is not None:
        problem.report.extend(_together(entries) for entries in zip(*reports, strict=True))
    return Explanation(
        torch.cat([part.maps for part in parts], 1), torch.cat([part.logits for part in parts]), parts[0].layer
    )


def _runs_alone(problem: Problem) -> bool:
    try:
        problem.model(problem.images.clone())
    except Exception:
        return False
    return True


def _refusal(mixed: MixedImagesError, why: str) -> UnsupportedModelError:
    where = f"module {mixed.op.module!r}" if mixed.op.module else "the model's own forward"
    return refusal(why, f", beginning with {mixed.op.name} in {where}")


def _together(entries: tuple[Conservation, ...]) -> Conservation:
    arrived, left = (torch.cat([getattr(e, name) for e in entries], 1) for name in ("arrived", "left"))
    return replace(entries[0], arrived=arrived, left=left)
