"""The errors of the attribution engine: each names the thing, the value and the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class TargetError(ValueError, IndexError):
    """A target that the model's logits do not have, or targets whose shape does not fit the images."""


class LayerError(ValueError):
    """A layer that the model does not have, or that did not run, or whose output cannot start a propagation."""


class OutputError(ValueError):
    """A model output in which no logits of shape (N, K) were found."""


class NonFiniteError(ValueError):
    """Weights or activations that are NaN or infinite.

    Args:
        faults: For each image that they occur with, by its position in the batch or its id, where they occur first.
    """

    def __init__(self, faults: Mapping[Any, str]) -> None:
        self.faults = dict(faults)
        images = list(self.faults)
        super().__init__(
            f"the network makes numbers that are not finite of image(s) {images}. First, of image {images[0]!r}: "
            f"{self.faults[images[0]]}. An explanation would be of other numbers. Look at these weights (a training "
            "that diverged, a damaged file), or at the range of half precision"
        )

    def renamed(self, names: Sequence[Any]) -> NonFiniteError:
        """The same with other names for the positions in the batch."""
        return NonFiniteError({names[i]: fault for i, fault in self.faults.items()})

    def of(self, name: Any) -> NonFiniteError:
        """The same of a batch that held copies of one image."""
        return NonFiniteError({name: next(iter(self.faults.values()))})


class ChangedConstantError(RuntimeError):
    """A constant of an operation that the model overwrote after the operation had read it."""


class UnsupportedModelError(TypeError):
    """A kind of model whose forward pass cannot be recorded (scripted, quantised, on the meta device)."""


class UnsupportedOpError(NotImplementedError):
    """An operation through which a method has no rule to propagate relevance."""
