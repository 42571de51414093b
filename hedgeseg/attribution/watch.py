"""What is to be known of a forward pass that is not recorded, for the methods that see a model only from outside."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hedgeseg.attribution.batch_statistics import folds_images, uses_batch
from hedgeseg.attribution.finite import Suspicion
from hedgeseg.attribution.nodes import Op, found
from hedgeseg.attribution.operations import BATCH_NORMS, PROBABILITIES


class Watch(TorchDispatchMode):
    """Looks at every operation while it is active, and changes none.

    Attributes:
        suspicion: Whether anything was not finite.
        uses_batch: Whether a batch norm normalised by the batch itself. (An instance norm, which torch makes of one,
            does not.)
    """

    def __init__(self) -> None:
        super().__init__()
        self.suspicion = Suspicion()
        self.uses_batch = False
        self._probabilities: list[tuple[Tensor, Any]] = []
        self._folded: Tensor | None = None  # the last view with the images among the channels

    def probabilities(self, logits: Tensor) -> Any:
        """The operation that made what the model returned, if it makes probabilities; else None."""
        mine = logits.untyped_storage()._cdata
        made = next((packet for t, packet in self._probabilities if t.untyped_storage()._cdata == mine), None)
        if made is None and self._probabilities and sum_to_one(logits):  # by arithmetic behind a softmax
            return self._probabilities[-1][1]
        return made

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look, and do what was asked."""
        kwargs, packet = kwargs or {}, getattr(func, "overloadpacket", func)
        self.suspicion.look(packet, args, found(Tensor, (args, kwargs)))
        if packet in BATCH_NORMS and args[0] is not self._folded and uses_batch(Op(0, func, tuple(args), kwargs, "")):
            self.uses_batch = True
        out = func(*args, **kwargs)
        if packet is torch.ops.aten.view and folds_images(args[0].shape, out.shape):
            self._folded = out
        if packet in PROBABILITIES:
            self._probabilities += [(t, packet) for t in found(Tensor, out)]
        return out


def sum_to_one(logits: Tensor) -> bool:
    """Whether what a model returned, (N, K), lies within 0 and 1 and sums to 1 for every image."""
    y = logits.detach()
    if y.shape[1] < 2 or not bool(((y >= 0) & (y <= 1)).all()):
        return False
    return bool(((y.sum(1, dtype=torch.float64) - 1).abs() < 1e-3).all())
