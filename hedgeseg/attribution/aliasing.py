"""Keeps the recording true when a model writes in place into a tensor that others share memory with.

``x[:, :3] *= 2`` reaches the recorder as a view of ``x`` and a write into that view; a later use of ``x`` must see the
new entries. `WriteLog` remembers what was written where, per storage; `view_write` is the operation that stands on
the tape for "the old tensor with these entries replaced".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.weak import WeakTensorKeyDictionary


@dataclass(frozen=True)
class Geometry:
    """Where a tensor's entries lie in its storage."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, tensor: Tensor) -> Geometry:
        """The geometry of a strided tensor."""
        return cls(tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()))

    def offsets(self, device: torch.device) -> Tensor:
        """Storage index of every entry, flat, int64."""
        index = torch.full((1,) * len(self.size), self.offset, dtype=torch.int64, device=device)
        for axis, (size, stride) in enumerate(zip(self.size, self.stride, strict=True)):
            shape = [1] * len(self.size)
            shape[axis] = size
            index = index + (torch.arange(size, device=device) * stride).view(shape)
        return index.flatten()

    def positions_in(self, other: Geometry, device: torch.device) -> tuple[Tensor, Tensor]:
        """The entries that two tensors of one storage share.

        Returns:
            Flat positions in `other` and, in the same order, in this geometry; both int64.
        """
        mine, others = self.offsets(device), other.offsets(device)
        order = torch.argsort(mine)
        found = torch.searchsorted(mine[order], others).clamp(max=mine.numel() - 1)
        shared = mine[order][found] == others
        return shared.nonzero().flatten(), order[found[shared]]


def view_write(old: Tensor, written: Tensor, at: Tensor, source: Tensor) -> Tensor:
    """`old` with its flat entries `at` replaced by the flat entries `source` of `written`."""
    flat = old.flatten().index_put((at,), written.flatten()[source].to(old.dtype))
    return flat.view(old.shape)


@dataclass
class _StorageWrites:
    storage: StorageWeakRef
    entries: list[tuple[Geometry, Any]] = field(default_factory=list)


class WriteLog:
    """The writes in place of one recording, per storage and in order."""

    def __init__(self) -> None:
        self._logs: dict[int, _StorageWrites] = {}
        self._seen: Any = WeakTensorKeyDictionary()

    def add(self, tensor: Tensor, value: Any) -> None:
        """Note that `tensor`'s memory now holds `value`; a write of no entries is none."""
        if tensor.numel() == 0:
            return
        storage = tensor.untyped_storage()
        # The weak reference keeps the address from being used again, so it can serve as the key.
        log = self._logs.setdefault(storage._cdata, _StorageWrites(StorageWeakRef(storage)))
        log.entries.append((Geometry.of(tensor), value))
        self._seen[tensor] = len(log.entries)

    def mark_fresh(self, tensor: Tensor) -> None:
        """Note that `tensor` was made just now and reflects every write so far."""
        if self._logs and (log := self._logs.get(tensor.untyped_storage()._cdata)):
            self._seen[tensor] = len(log.entries)

    def pending(self, tensor: Tensor) -> Iterator[tuple[Geometry, Any]]:
        """The writes into `tensor`'s storage that its recorded value does not reflect yet; reading them clears them."""
        if not self._logs or tensor.layout != torch.strided:
            return
        log = self._logs.get(tensor.untyped_storage()._cdata)
        if log is None:
            return
        first = self._seen.get(tensor, 0)
        self._seen[tensor] = len(log.entries)
        yield from log.entries[first:]
