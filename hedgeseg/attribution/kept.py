"""Which tensors of a forward pass are kept for the rules, and what becomes of them when the model overwrites them."""

from __future__ import annotations

from torch import Tensor

from hedgeseg.attribution.nodes import Value


class Kept:
    """The values of one recording that have data.

    A value refers to the model's own tensor; before the model writes into that memory, the data is cloned.
    """

    def __init__(self) -> None:
        self._by_storage: dict[int, list[Value]] = {}
        self._recent: dict[Value, None] = {}
        self._before: dict[Value, None] = {}

    def keep(self, value: Value, tensor: Tensor) -> None:
        """Keep a value's tensor until the end, unless it is kept already."""
        self._recent.pop(value, None)
        self._before.pop(value, None)
        if value.data is None:
            self._hold(value, tensor)

    def keep_for_now(self, value: Value, tensor: Tensor) -> None:
        """Keep a value's tensor until `forget_older` was called twice, or somebody needs it for good."""
        if value.data is None:
            self._hold(value, tensor)
            self._recent[value] = None

    def forget_older(self) -> None:
        """Let go of what was kept for now before the last call."""
        for value in self._before:
            value.data = None
        self._before, self._recent = self._recent, {}

    def save_before_write(self, tensor: Tensor) -> None:
        """Clone what is kept of the memory that is about to be overwritten."""
        for value in self._by_storage.pop(tensor.untyped_storage()._cdata, []):
            if value.data is not None:
                value.data = value.data.clone()

    def _hold(self, value: Value, tensor: Tensor) -> None:
        value.data = tensor.detach()
        self._by_storage.setdefault(tensor.untyped_storage()._cdata, []).append(value)
