"""Ask a model for its output in eval mode, and leave it as it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from torch import Tensor, nn

from hedgeseg.metrics.map_metric import ordinary_tensors

__all__ = ["Predict", "evaluating"]

Predict: TypeAlias = Callable[[Tensor], Tensor]
"""Images `(B, C, H, W)` to logits `(B, K)`: a module or any function."""


@contextmanager
def evaluating(predict: Predict) -> Iterator[None]:
    """Put every submodule of `predict`, if it is a module, in eval mode; no gradients; restore the flags after.

    Without it, batch norm in training mode would make an image's result depend on its batch, and change the model.
    """
    modules = list(predict.modules()) if isinstance(predict, nn.Module) else []
    flags = [module.training for module in modules]
    try:
        # The attribute, not eval(): a module may override train() to keep parts frozen.
        for module in modules:
            module.training = False
        with ordinary_tensors():
            yield
    finally:
        for module, flag in zip(modules, flags, strict=True):
            module.training = flag
