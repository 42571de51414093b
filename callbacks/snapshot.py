"""What one look at the watched images saw: everything that the places it is shown at need to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hedgeseg.callbacks.explanations import Explanation
from hedgeseg.callbacks.scores import Finding, Score
from hedgeseg.class_names import ClassNames
from hedgeseg.visual import Picture


@dataclass(frozen=True, eq=False)
class Panel:
    """One watched image, drawn.

    Attributes:
        finding: its maps and their scores.
        picture: the image, uint8 `(H, W, 3)`.
        drawing: image, maps and overlays on one sheet, uint8.
        number: position among the watched images of its loader.
    """

    finding: Finding
    picture: Picture
    drawing: Picture
    number: int

    @property
    def name(self) -> str:
        """Name of its files: the number, and the end of the key, where paths differ."""
        key = "".join(c if c.isalnum() or c in "-_" else "_" for c in self.key)
        return f"{self.number:03d}_{key[-80:]}"

    @property
    def key(self) -> str:
        """What the image is recognised by."""
        return self.finding.explanation.example.key

    @property
    def explanation(self) -> Explanation:
        """Its maps."""
        return self.finding.explanation

    @property
    def scores(self) -> Sequence[Score]:
        """One per map."""
        return self.finding.scores


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One look at the watched images.

    Attributes:
        stage: `fit`, `validate`, `test` or `predict`.
        epoch: current epoch.
        step: the step Lightning logs its own metrics at.
        prefix: what all names begin with.
        names: of the classes, by suffix.
        panels: by suffix, which is empty for a single loader and `/dataloader_idx_<i>` for several.
        numbers: the metrics that were logged, by full name.
    """

    stage: str
    epoch: int
    step: int
    prefix: str
    names: Mapping[str, ClassNames]
    panels: Mapping[str, Sequence[Panel]]
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Name of this look's folder; the step keeps several looks in one epoch apart."""
        return f"epoch_{self.epoch:03d}_step_{self.step:06d}" if self.stage == "fit" else self.stage

    def rows(self) -> Iterator[dict[str, Any]]:
        """One record per map, in the order of the panels: what it explains and what it is worth."""
        for suffix, panels in self.panels.items():
            for panel in panels:
                explanation = panel.explanation
                for index, probability, score in zip(
                    explanation.classes, explanation.scores, panel.scores, strict=True
                ):
                    yield {
                        "loader": suffix.rpartition("_")[2],
                        "image": panel.key,
                        "class": self.names[suffix][index],
                        "score": probability,
                        "pointing hit": score.hit,
                        "outside/inside": score.outside_inside,
                        "drift": score.drift,
                    }
