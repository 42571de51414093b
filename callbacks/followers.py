"""What follows our metrics: ModelCheckpoint, EarlyStopping, schedulers. What they see while there is no fresh value.

Lightning keeps a logged value until the next one. Between two looks a follower would take the kept value for news:
EarlyStopping would count it as "no improvement", ModelCheckpoint would file other weights under it. And where there
is no value at all they raise. So a name without a fresh value is withheld from those that follow it: EarlyStopping and
schedulers pass over a check (they need `strict=False` for that, which they get for the time of the fit), a
ModelCheckpoint takes NaN for the worst value. Afterwards the last value is back in `trainer.callback_metrics`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

LOADER = "/dataloader_idx_"

NEEDS = {
    "pointing_game": "a mask or boxes of a class that is explained, in the batches",
    "outside_inside": "a mask or boxes of a class that is explained, in the batches",
    "positive_ratio": "an image that can be explained",
    "drift": "two looks in this training",
    "class_discrimination": "an image that is explained for two classes",
    "sanity_spearman": "a look with a sanity check",
    "sanity_efficient_mprt": "a look with a sanity check",
    "images": "an image that can be explained",
}
"""The metrics, and what each needs to have a value."""


@dataclass(eq=False)
class Follower:
    """One callback or scheduler, and the name it follows.

    Attributes:
        who: as a message names it.
        name: of the metric.
        owner: what holds `strict`, or None where there is no such thing.
        saves: whether it is a checkpoint, which asks for a name to be there.
        strict: as its owner had it.
    """

    who: str
    name: str
    owner: Any = None
    saves: bool = False
    strict: bool = False


class Followers:
    """Those that follow names below a prefix in one fit.

    Args:
        prefix: first part of the names.
        callbacks: of the trainer.
        never: metrics that will not be logged.

    Raises:
        ValueError: a name that will never have a value, or a combination that Lightning has no way of sparing.
    """

    def __init__(self, prefix: str, callbacks: Sequence[Callback], never: Collection[str] = ()) -> None:
        self.prefix = prefix
        self._never = frozenset(never)
        self.known: list[Follower] = []
        self._patterns = [(c, str(getattr(c, "filename", None) or "")) for c in callbacks if isinstance(c, Checkpoint)]
        self._kept: dict[str, Any] = {}
        self._placed: set[str] = set()
        self._told: set[str] = set()
        for callback in callbacks:
            name = getattr(callback, "monitor", None)
            if isinstance(name, str) and self._ours(name, type(callback).__name__):
                saves = isinstance(callback, Checkpoint)
                owner = callback if hasattr(callback, "strict") else None
                self.known.append(Follower(type(callback).__name__, name, owner, saves))
        for name in self.names:
            if self._written_by_others(name) and self._kinds(name) == {True, False}:
                raise ValueError(
                    f"a ModelCheckpoint and {self._who(name, saving=False)} follow {name!r}, and another "
                    f"ModelCheckpoint writes it into its file names, which Lightning cannot do while there is no "
                    f"value: leave {{{name}}} out of its filename"
                )

    def add_schedulers(self, configs: Sequence[Any]) -> None:
        """Learning rate schedulers that follow a metric, by Lightning's configurations of them.

        Raises:
            ValueError: a name that will never have a value.
        """
        for config in configs:
            who, name = type(config.scheduler).__name__, config.monitor
            if config.reduce_on_plateau and isinstance(name, str) and self._ours(name, who):
                self.known.append(Follower(who, name, config))

    @property
    def names(self) -> list[str]:
        """What is followed."""
        return list(dict.fromkeys(follower.name for follower in self.known))

    def relax(self) -> None:
        """Let those that can pass over a check do so."""
        for follower in self.known:
            if follower.owner is not None:
                follower.strict, follower.owner.strict = follower.owner.strict, False

    def release(self) -> None:
        """Be as strict as before."""
        for follower in self.known:
            if follower.owner is not None:
                follower.owner.strict = follower.strict
        self.known = []

    @property
    def withholding(self) -> bool:
        """Whether there is something to put back."""
        return bool(self._kept or self._placed)

    def withhold(self, metrics: dict[str, Any], fresh: Collection[str]) -> None:
        """Take the values that are not fresh out of the trainer's metrics.

        Args:
            metrics: `trainer.callback_metrics`.
            fresh: names that were logged just now.
        """
        for name in self.names:
            if name in fresh:
                self._kept.pop(name, None)
                self._placed.discard(name)
                continue
            if metrics.get(name) is not None and name not in self._placed:
                self._kept[name] = metrics[name]
            metrics.pop(name, None)
            kinds = self._kinds(name)
            if True in kinds:
                # A ModelCheckpoint raises where the name is missing, and EarlyStopping stops at NaN; None is "nothing
                # to compare" to the one and "not there" to the other.
                metrics[name] = None if False in kinds else torch.tensor(torch.nan)
                self._placed.add(name)

    def put_back(self, metrics: dict[str, Any]) -> None:
        """Put the last values where they were."""
        for name in self._placed:
            metrics.pop(name, None)
        metrics.update(self._kept)
        self._kept, self._placed = {}, set()

    def missing(self, logged: Collection[str], suffixes: Collection[str] = ()) -> list[str]:
        """Of each followed name without a value, once, what it waits for.

        Args:
            logged: names that have a value.
            suffixes: what names end in, in this run, if that is known.
        """
        missing = [name for name in self.names if name not in logged and name not in self._told]
        self._told.update(missing)
        return [self._reason(name, suffixes) for name in missing]

    def _reason(self, name: str, suffixes: Collection[str]) -> str:
        ending = name[len(f"{self.prefix}/{self._metric(name)}") :]
        if suffixes and ending not in suffixes:
            needs = f"is never logged: with these loaders names end in {' or '.join(repr(s) for s in suffixes)}"
        else:
            needs = f"has no value yet; it needs {NEEDS[self._metric(name)]}"
        return (
            f"{name!r}, followed by {self._who(name)}, {needs}. Until then EarlyStopping and schedulers pass over "
            f"their checks, and ModelCheckpoint takes it for the worst value"
        )

    def needs_place(self, name: str) -> bool:
        """Whether a name has a value only where the data says where its objects are."""
        return "mask" in NEEDS[self._metric(name)]

    def _ours(self, name: str, who: str) -> bool:
        if not name.startswith(f"{self.prefix}/"):
            return False
        metric = self._metric(name)
        if metric not in NEEDS:  # then it may be the user's own, under a prefix that we share
            near = get_close_matches(metric, NEEDS, n=1)
            if near:
                rank_zero_warn(
                    f"HedgeCallback: {who} follows {name!r}, which is none of our metrics; did you mean "
                    f"{self.prefix}/{near[0]}?"
                )
            return False
        if metric in self._never:
            missing = "sanity_every_n_epochs" if set(NEEDS) - self._never else "metrics=True"
            raise ValueError(f"{who} follows {name!r}, which HedgeCallback never logs without {missing}")
        return True

    def _metric(self, name: str) -> str:
        return name.removeprefix(f"{self.prefix}/").partition(LOADER)[0]

    def _kinds(self, name: str) -> set[bool]:
        return {follower.saves for follower in self.known if follower.name == name}

    def _who(self, name: str, saving: bool = True) -> str:
        return " and ".join(dict.fromkeys(f.who for f in self.known if f.name == name and (saving or not f.saves)))

    def _written_by_others(self, name: str) -> bool:
        return any(
            f"{{{name}" in pattern and getattr(checkpoint, "monitor", None) != name
            for checkpoint, pattern in self._patterns
        )
