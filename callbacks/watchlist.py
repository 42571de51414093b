"""Which images are watched: a few that are spread over the classes, and from then on always those."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from hedgeseg.callbacks.batches import Example

Labels = tuple[int, ...] | None


@dataclass(frozen=True, eq=False)
class Candidate:
    """An image that could be watched.

    Attributes:
        key: what it is recognised by.
        labels: indices of its classes, () for an image without any; None if the data has no labels.
        take: copies it out of its batch.
    """

    key: str
    labels: Labels
    take: Callable[[], Example]


class Spread:
    """Keeps a few of the images that pass, as evenly spread over the classes as those that came allow.

    An image stands for the class it has that is rarest so far; images without a class stand together, like one more.
    While there is room every image is kept; after that one of a class that is rarer by two takes the place of the
    latest of the commonest class. So whatever the order, classes differ by one image at most unless a class has too
    few; the first images stay where they are as good as later ones. No random number is drawn.

    Args:
        size: how many to keep.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._kept: list[tuple[int | None, Example]] = []

    def offer(self, candidate: Candidate) -> None:
        """Keep an image or let it pass."""
        counts = Counter(stratum for stratum, _ in self._kept)
        stratum = min(candidate.labels or (None,), key=lambda s: (counts[s], -1 if s is None else s))
        if len(self._kept) >= self.size:
            largest = max(counts.values(), default=0)
            if largest < counts[stratum] + 2:
                return
            self._kept.pop(max(i for i, (s, _) in enumerate(self._kept) if counts[s] == largest))
        self._kept.append((stratum, candidate.take()))

    def examples(self) -> list[Example]:
        """The images in turns: the first of every class, then the second of every class, ..."""
        turns: Counter[int | None] = Counter()
        order = []
        for position, (stratum, _) in enumerate(self._kept):
            order.append((turns[stratum], position))
            turns[stratum] += 1
        return [self._kept[position][1] for _, position in sorted(order)]

    @property
    def unlabelled(self) -> bool:
        """Whether it is full of images of which nothing is known: no later one can be better."""
        return len(self._kept) >= self.size and all(example.labels is None for _, example in self._kept)


class Watchlist:
    """Holds the watched images of each loader.

    The images themselves are kept (a few, on the CPU), so they stay the same when the loader shuffles or augments. They
    are chosen over the first validation that is looked at, all of it, because the first batches of a folder are of
    one class: labels are read of every batch, images copied only where one is kept. A resumed run knows the keys only,
    and picks them out as the batches pass.

    Args:
        size: images per loader.

    Attributes:
        settled: whether the images will not change any more.
        lost: keys of a checkpoint that the data no longer has.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.settled = False
        self.lost: list[str] = []
        self._watched: dict[int, list[Example]] = {}
        self._wanted: dict[int, list[str]] = {}
        self._spread: dict[int, Spread] = {}
        self._bare: dict[int, Spread] = {}

    def complete(self, loader: int) -> bool:
        """Whether nothing more is to be picked from this loader, so that its batches need not be read."""
        if loader in self._wanted:
            return len(self._watched.get(loader, ())) >= len(self._wanted[loader])
        if loader in self._watched or self.settled:
            return True
        return loader in self._spread and self._spread[loader].unlabelled

    def offer(self, loader: int, candidates: Iterable[Candidate]) -> None:
        """Pick from the images of a batch what is to be watched."""
        wanted = self._wanted.get(loader)
        for candidate in candidates:
            if wanted is not None and candidate.key in wanted:
                watched = self._watched.setdefault(loader, [])
                if sum(e.key == candidate.key for e in watched) < wanted.count(candidate.key):
                    watched.append(candidate.take())
            # Images without a class apart: whether there is something to explain in them is known only later.
            kept = self._bare if candidate.labels == () else self._spread
            kept.setdefault(loader, Spread(self.size)).offer(candidate)

    def bare(self, loader: int) -> Example | None:
        """An image without a class, of a loader whose choice is still open; None if there is none."""
        return next(iter(self._bare[loader].examples()), None) if loader in self._bare else None

    def examples(self, loader: int, wants: Callable[[Example], bool] = bool) -> list[Example]:
        """The watched images of a loader, always in the same order. Closes the choice.

        Args:
            loader: index of the loader.
            wants: whether there is something to explain in an image.
        """
        wanted = self._wanted.pop(loader, None)
        labelled, bare = self._spread.pop(loader, Spread(self.size)), self._bare.pop(loader, Spread(self.size))
        if wanted is not None and loader in self._watched:
            self.lost += [key for key in wanted if key not in {example.key for example in self._watched[loader]}]
            self._watched[loader].sort(key=lambda example: wanted.index(example.key))
        elif loader not in self._watched:  # or a checkpoint of other data, or of another process's share of it
            together = Spread(self.size)
            for example in filter(wants, [*labelled.examples(), *bare.examples()]):
                together.offer(Candidate(example.key, example.labels, partial(_itself, example)))
            self._watched[loader] = together.examples()
        return list(self._watched[loader])

    def settle(self, loader: int, keys: Iterable[str]) -> list[str]:
        """Watch these images only, once and for all; returns the keys of those that are given up."""
        kept = set(keys)
        watched = self._watched.get(loader, [])
        self._watched[loader] = [example for example in watched if example.key in kept]
        self.settled = True
        return [example.key for example in watched if example.key not in kept]

    def reopen(self) -> None:
        """Forget a choice of which nothing could be explained."""
        if not self.settled:
            self._watched.clear()

    def state_dict(self) -> dict[str, Any]:
        """Keys of the watched images by loader."""
        keys = {str(loader): [e.key for e in examples] for loader, examples in self._watched.items() if examples}
        return {**{str(loader): list(wanted) for loader, wanted in self._wanted.items()}, **keys}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Watch the images with these keys."""
        self._watched.clear()
        self._wanted = {int(loader): list(keys)[: self.size] for loader, keys in state.items()}


def _itself(example: Example) -> Example:
    return example
