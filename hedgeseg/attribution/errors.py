"""The errors of the attribution engine: each names the thing, the value and the remedy."""

from __future__ import annotations


class TargetError(ValueError, IndexError):
    """A target that the model's logits do not have, or targets whose shape does not fit the images."""


class LayerError(ValueError):
    """A layer that the model does not have, or that did not run, or whose output cannot start a propagation."""


class OutputError(ValueError):
    """A model output in which no logits of shape (N, K) were found."""


class UnsupportedModelError(TypeError):
    """A kind of model whose forward pass cannot be recorded (scripted, quantised, on the meta device)."""


class UnsupportedOpError(NotImplementedError):
    """An operation through which a method has no rule to propagate relevance."""
