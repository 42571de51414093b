"""What a data set left out, and why: told once, never image by image."""

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_NAMED = 5


@dataclass
class LoadReport:
    """What was found on disk and what of it is used.

    Attributes:
        found: images that the annotation or the folder lists.
        unreadable: file -> reason, for images that are missing or broken; they are skipped.
        unlabelled: names of images of which nobody has said what they show; they are skipped.
        annotations: single annotations that are not used, or not as they are, with the reason; their images stay.
        negatives: how many of the images that are used show none of the classes.
    """

    found: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    negatives: int = 0

    @property
    def kept(self) -> int:
        """Images that the data set uses."""
        return self.found - len(self.unreadable) - len(self.unlabelled)

    def __str__(self) -> str:
        parts = [f"{self.kept} of {self.found} images used"]
        if self.negatives:
            parts.append(f"{self.negatives} of them show none of the classes")
        if self.unreadable:
            named = [f"{name} ({reason})" for name, reason in self.unreadable.items()]
            parts.append(f"{len(named)} unreadable: {_some(named)}")
        if self.unlabelled:
            parts.append(f"{len(self.unlabelled)} without a label: {_some(self.unlabelled)}")
        if self.annotations:
            kinds = _some(_by_reason(self.annotations))
            parts.append(f"{len(self.annotations)} annotations used in part or not at all: {kinds}")
        return "; ".join(parts)

    def warn(self, name: str) -> None:
        """Gives one warning for all that was skipped, none if nothing was."""
        if self.kept < self.found or self.annotations:
            warnings.warn(f"{name}: {self}", stacklevel=3)


def by_name(reasons: Mapping[Path, str]) -> dict[str, str]:
    """Reasons by the files' names; by their paths where names repeat."""
    counts = Counter(path.name for path in reasons)
    return {path.name if counts[path.name] == 1 else path.as_posix(): reason for path, reason in reasons.items()}


def _by_reason(reasons: Mapping[str, str]) -> list[str]:
    """Each reason once with how often it holds and an example; the most frequent first."""
    examples: dict[str, str] = {}
    for name, reason in reasons.items():
        examples.setdefault(reason, name)
    return [
        f"{reason} ({count}, as in {examples[reason]})" for reason, count in Counter(reasons.values()).most_common()
    ]


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
