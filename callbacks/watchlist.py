"""Which images are watched: the first ones of each loader, and from then on always those."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hedgeseg.callbacks.batches import Example


class Watchlist:
    """Holds the watched images of each loader.

    The images themselves are kept (a few, on the CPU), so they stay the same when the loader shuffles or augments. A
    resumed run knows their keys only, and picks them out as the batches pass.

    Args:
        size: images per loader.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._watched: dict[int, list[Example]] = {}
        self._wanted: dict[int, list[str]] = {}
        self._substitutes: dict[int, list[Example]] = {}

    def complete(self, loader: int) -> bool:
        """Whether nothing more is to be picked from this loader, so that its batches need not be read."""
        wanted = len(self._wanted.get(loader, ())) or self.size
        return len(self._watched.get(loader, ())) >= wanted

    def offer(self, loader: int, examples: Iterable[Example]) -> None:
        """Pick from the examples of a batch what is to be watched."""
        watched = self._watched.setdefault(loader, [])
        wanted = self._wanted.get(loader)
        for example in examples:
            if wanted is None:
                if len(watched) < self.size:
                    watched.append(example)
            elif example.key in wanted:
                watched.append(example)
            elif len(substitutes := self._substitutes.setdefault(loader, [])) < self.size:
                substitutes.append(example)

    def examples(self, loader: int) -> list[Example]:
        """The watched images of a loader, always in the same order. Closes the choice."""
        watched = self._watched.setdefault(loader, [])
        wanted = self._wanted.pop(loader, None)
        substitutes = self._substitutes.pop(loader, [])
        if wanted is not None:
            watched.sort(key=lambda example: wanted.index(example.key))
            if not watched:  # another data set than the one the checkpoint knew, or another process's share of it
                watched.extend(substitutes)
        return list(watched)

    @property
    def loaders(self) -> list[int]:
        """Loaders that have offered images."""
        return sorted(self._watched)

    def clear(self) -> None:
        """Forget the images, to choose anew."""
        self._watched.clear()

    def state_dict(self) -> dict[str, Any]:
        """Keys of the watched images by loader."""
        keys = {str(loader): [e.key for e in examples] for loader, examples in self._watched.items() if examples}
        return {**{str(loader): list(wanted) for loader, wanted in self._wanted.items()}, **keys}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Watch the images with these keys."""
        self._watched.clear()
        self._wanted = {int(loader): list(keys)[: self.size] for loader, keys in state.items()}
