"""What one stage watches: it picks images as the batches pass, and explains and scores them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch.strategies import Strategy
from torch import nn

from hedgeseg.callbacks.batches import Batch, BatchAdapter, Example
from hedgeseg.callbacks.budget import TimeBudget
from hedgeseg.callbacks.drift import DriftTracker
from hedgeseg.callbacks.error_policy import ErrorPolicy
from hedgeseg.callbacks.explanations import Explainer, explain_in_time
from hedgeseg.callbacks.mask_layouts import MaskError
from hedgeseg.callbacks.scores import Finding, find
from hedgeseg.callbacks.watchlist import Candidate, Watchlist

Findings = dict[str, list[Finding]]
"""What was found, by the suffix of the loader's names."""


class StageMonitor:
    """The watched images of one stage.

    Args:
        size: images per loader.
        explainer: explains them.
        errors: what becomes of errors.
        adapter: reads batches of an unusual layout.

    Attributes:
        watchlist: the images.
        drift: their last maps, to tell how far later ones are from them.
        failed: keys of images that could not be explained.
    """

    def __init__(self, size: int, explainer: Explainer, errors: ErrorPolicy, adapter: BatchAdapter | None) -> None:
        self.watchlist = Watchlist(size)
        self.drift = DriftTracker()
        self.failed: set[str] = set()
        self._explainer, self._errors, self._adapter = explainer, errors, adapter

    def pick(self, batch: Any, place: str, loader: int) -> None:
        """Choose from a batch what is to be watched."""
        if not self.watchlist.complete(loader):
            with self._errors("reading a batch"):
                self.watchlist.offer(loader, self._candidates(Batch(batch, place, self._adapter)))

    def explain(
        self, network: nn.Module, suffixes: Mapping[int, str], device: torch.device, budget: TimeBudget, found: Findings
    ) -> None:
        """Explain and score the images of every loader.

        Args:
            network: is explained.
            suffixes: of the names, by loader.
            device: of the network.
            budget: how many of them fit; all of them where it is settled what is watched.
            found: is filled, so that what was found before an error is kept.
        """
        for loader, suffix in suffixes.items():
            with self._errors("explaining the images"):
                bare = self.watchlist.bare(loader)
                if bare is not None:  # whether there is something to explain in it depends on the number of logits
                    self._explainer.look_at(network, bare.image[None].to(device))
                examples = self.watchlist.examples(loader, self._explainer.wants)
                for explanation in explain_in_time(self._explainer, network, examples, device, budget, self._failed):
                    found[suffix].append(find(explanation, self.drift.drifts(suffix, explanation)))

    def settle(self, suffixes: Mapping[int, str], found: Findings, strategy: Strategy) -> bool:
        """Fix what is watched, over all processes, at the first look that found anything.

        Must be called on every process: it synchronises.

        Returns:
            Whether all that is watched was found, everywhere: only then do metrics compare with those of other looks.
        """
        if not strategy.reduce_boolean_decision(any(found.values()), all=False):
            self.watchlist.reopen()
            return False
        if not self.watchlist.settled:
            watched = sum(len(self.watchlist.examples(loader)) for loader in suffixes)
            dropped = [k for i, s in suffixes.items() for k in self.watchlist.settle(i, _keys(found[s]))]
            given_up = len([key for key in dropped if key not in self.failed])
            if given_up:
                self._errors.tell(
                    "time",
                    f"{watched - given_up} of {watched} images fit into the time allowed, and these are watched from "
                    f"now on; max_fraction=None and max_seconds_per_epoch=None lift the limit",
                )
        if self.watchlist.lost:
            self._errors.tell(
                "lost",
                f"the data no longer has {self.watchlist.lost[:5]}, which the checkpoint watched; metrics are over the "
                f"others from now on",
            )
        mine = all(len(found[suffix]) == len(self.watchlist.examples(loader)) for loader, suffix in suffixes.items())
        complete = bool(strategy.reduce_boolean_decision(mine))
        if not complete:
            self._errors.tell(
                "incomplete",
                "not all watched images could be explained, so this look logs no metrics: means over different images "
                "do not compare",
            )
        return complete

    def state_dict(self) -> dict[str, Any]:
        """Keys of the images and their last maps: plain types and tensors."""
        return {
            "watched": self.watchlist.state_dict(),
            "settled": self.watchlist.settled,
            "maps": self.drift.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the same images."""
        self.watchlist.load_state_dict(state["watched"])
        self.watchlist.settled = state.get("settled", True)
        self.drift.load_state_dict(state["maps"])

    def _candidates(self, batch: Batch) -> Iterator[Candidate]:
        for i, (key, labels) in enumerate(zip(batch.keys, batch.labels, strict=True)):
            yield Candidate(key, labels, partial(self._take, batch, i))

    def _take(self, batch: Batch, index: int) -> Example:
        try:
            example = batch.example(index)
        except MaskError as error:
            self._errors.note("reading the masks, images go without", error)
            return batch.example(index, masked=False)
        if batch.oddity is not None:
            self._errors.tell("masks", batch.oddity)
        return example

    def _failed(self, example: Example, error: Exception) -> None:
        self.failed.add(example.key)
        self._errors.note(f"explaining image {example.key!r}, which is left out", error)


def _keys(found: Sequence[Finding]) -> list[str]:
    return [finding.explanation.example.key for finding in found]
