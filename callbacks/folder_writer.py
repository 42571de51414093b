"""What SeedWriter and MaskWriter share: a folder that `trainer.predict` fills, on any strategy, and goes on with.

The folder has a manifest and refuses other settings; what is done is left out; images of one shape are taken together;
an image that fails is named, and the others go on; at the end it is said what was done, in Weights & Biases if asked.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import nn

from hedgeseg.attribution.errors import NonFiniteError
from hedgeseg.callbacks import trainer_context
from hedgeseg.callbacks.batches import Batch, BatchAdapter, Example
from hedgeseg.callbacks.content import Content
from hedgeseg.callbacks.folder_tracking import Tracking
from hedgeseg.callbacks.network import find_network
from hedgeseg.callbacks.resuming import leave_out_done
from hedgeseg.callbacks.seed_settings import data_settings, network_settings
from hedgeseg.deprecation import warn_renamed
from hedgeseg.forked import can_fork, forked, one_thread
from hedgeseg.seeds.formats.files import file_in
from hedgeseg.seeds.manifest import Manifest, open_folder, weights_hash

WAITING = 4
"""How many times as many images as are taken together wait for others of their shape."""

ON_A_GPU = 8
"""How many images are taken together there."""

SHARE = 8
"""How many images a process has where several work side by side."""

MOST = 8
"""More processes are not taken unasked: each has memory of its own."""

PATIENCE = 600.0, 10.0
"""Forks may be silent for so many seconds, and so many times what the first image took."""


@dataclass(frozen=True, eq=False)
class Waiting:
    """An image whose turn comes.

    Attributes:
        example: the image.
        identifier: what its files are called.
        loader: which loader it comes from.
        classes: labels it may show; None where nobody has said.
    """

    example: Example
    identifier: str
    loader: int
    classes: tuple[int, ...] | None


class FolderWriter(BasePredictionWriter):
    """Fills a folder with one result per image; a subclass makes and saves them.

    Args:
        folder: made if it does not exist.
        target: one of `targets`: the classes that the result of an image may show.
        classes: former name of `target`.
        network: dotted path of the network in the LightningModule, if it cannot be found.
        batch_adapter: turns a batch of an unusual layout into a dict with `image`, `label`, `id`, ...
        on_error: `"warn"` records an image's failure and goes on; `"raise"` stops.
        together: so many images of one shape are taken at a time; None as the device likes it.
        processes: so many work side by side on a CPU, where that is possible (`hedgeseg.forked`), each with one thread;
            None for one, or as many as torch has threads, at most eight, after `take_all_cores`.
        log_samples: so many images, evenly over the folder, are shown in Weights & Biases: a table of the pictures with
            their masks, and the true masks where there are any.
        artifact: keep the folder in Weights & Biases as an Artifact, with its manifest as metadata.

    Attributes:
        counts: how many images of this process were `written`, `skipped` because they were done, and `failed`.

    Raises:
        ValueError: an argument out of range.
    """

    noun: ClassVar[str] = "result"
    targets: ClassVar[tuple[str, str]] = ("label", "predicted")
    """What `target` may be: the labels, and the word for what the network sees."""

    def __init__(
        self,
        folder: str,
        target: str,
        *,
        classes: str | None,
        network: str | None,
        batch_adapter: BatchAdapter | None,
        on_error: Literal["warn", "raise"],
        together: int | None = 1,
        processes: int | None = None,
        log_samples: int = 0,
        artifact: bool = False,
    ) -> None:
        super().__init__(write_interval="batch")
        if classes is not None:
            warn_renamed("classes", "target", stacklevel=4)
            target = classes
        if target not in self.targets:
            raise ValueError(f"target is {' or '.join(map(repr, self.targets))}, got {target!r}")
        if on_error not in ("warn", "raise"):
            raise ValueError(f"on_error is 'warn' or 'raise', got {on_error!r}")
        if (together is not None and together < 1) or log_samples < 0:
            raise ValueError(f"together is 1 or more and log_samples 0 or more, got {together} and {log_samples}")
        if processes is not None and processes < 1:
            raise ValueError(f"processes is 1 or more, got {processes}")
        self.folder = Path(folder)
        self.target = target
        self.network = network
        self.batch_adapter = batch_adapter
        self.on_error = on_error
        self.together = together
        self.processes = processes
        self.tracking = Tracking(log_samples, artifact)
        self.counts = {"written": 0, "skipped": 0, "failed": 0}
        self._manifest: Manifest | None = None
        self._names: list[str] = []
        self._loader_of: dict[str, int] = {}
        self._indices: dict[str, int] = {}
        self._content = Content()
        self._waiting: list[Waiting] = []
        self._all_cores = False
        self._forks = False
        self._side_by_side = 1
        self._first: float | None = None

    def take_all_cores(self) -> None:
        """Work in as many processes as torch has threads, at most eight, unless `processes` is given; commands do."""
        self._all_cores = True

    @abstractmethod
    def _settings(self, trainer: Trainer, network: nn.Module) -> dict[str, Any]:
        """What decides the results beside the data, the class names and the network."""

    @abstractmethod
    def _prepared(self, trainer: Trainer, module: LightningModule, network: nn.Module, one: Waiting) -> Any:
        """What is read and decided for an image, before forks share what is open."""

    @abstractmethod
    def _results(
        self, module: LightningModule, network: nn.Module, group: Sequence[Waiting], prepared: Sequence[Any]
    ) -> Sequence[Any]:
        """One result for each image of a group, in its order, of what is prepared for each."""

    @abstractmethod
    def _save(self, identifier: str, result: Any) -> None:
        """Write the files of an image, the mask last."""

    def _classes(self, example: Example) -> tuple[int, ...] | None:
        """The labels that the result of an image may show; None for what the network sees."""
        if self.target != "label":
            return None
        if example.labels is None:
            (other,) = set(self.targets) - {"label"}
            raise ValueError(f"the batch has no labels; use target={other!r} or give batch_adapter")
        return example.labels

    def _finish(self, trainer: Trainer) -> None:
        """What is left to do when all images of this process are done."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse strategies under which no process holds the network; tell the data which images are done."""
        super().setup(trainer, pl_module, stage)
        trainer_context.refuse_sharded(trainer, type(self).__name__)
        if stage == "predict":
            leave_out_done(trainer)

    def is_pending(self, identifier: str) -> bool:
        """Whether an image is not done yet; one whose id cannot name a file is met, and named, in its turn."""
        try:
            return not self._is_done(identifier)
        except ValueError:
            return True

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the folder, or refuse one that was made with other settings."""
        network = find_network(pl_module, self.network)
        self._names = list(trainer_context.class_names(trainer, pl_module))
        settings = {
            **self._settings(trainer, network),
            "class_names": self._names,
            "data": data_settings(trainer),
            "network": network_settings(network),
        }
        self._manifest = open_folder(self.folder, {**settings, "weights": weights_hash(network)})
        left_out = getattr(getattr(trainer, "datamodule", None), "left_out", 0)
        self.counts = {"written": 0, "skipped": left_out if trainer.is_global_zero else 0, "failed": 0}
        self._loader_of, self._indices, self._content, self._waiting = {}, {}, Content(), []
        self._side_by_side, self._first = self._possible(trainer, pl_module.device), None
        self._forks = self._side_by_side > 1

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Take the images of a batch, and make the results of those that are enough of a kind."""
        opened = Batch(batch, str(batch_idx), self.batch_adapter)
        for position in range(len(opened)):
            example = opened.example(position, masked=False, device=pl_module.device)
            identifier = example.key
            if not example.named:  # then its place in the data set names it
                place = f"{batch_indices[position]:06d}" if batch_indices else f"{batch_idx:06d}_{position}"
                identifier = f"{dataloader_idx}_{place}"
            self._receive(example, identifier, dataloader_idx)
        self._work(trainer, pl_module, at_end=False)
        if trainer.received_sigterm:  # Lightning catches it, and its loop over predictions never looks
            raise SIGTERMException

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the results of the images that still wait for others of their kind."""
        self._work(trainer, pl_module, at_end=True)
        super().on_predict_epoch_end(trainer, pl_module)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what was done."""
        assert self._manifest is not None
        self._finish(trainer)
        summary = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        rank_zero_info(f"{type(self).__name__}: {summary}; the {self.noun}s are in {self.folder}")
        failures = self._manifest.failures()
        if failures:
            named = "; ".join(f"{identifier}: {reason}" for identifier, reason in list(failures.items())[:5])
            rank_zero_warn(
                f"{type(self).__name__}: {len(failures)} images have no {self.noun}, a later run tries them again "
                f"({named})"
            )
        if self.tracking:
            trainer.strategy.barrier(f"{self.noun}s are written")
            if trainer.is_global_zero:
                self.tracking(trainer, self.folder, self.noun, self._names, self._indices)

    def _is_done(self, identifier: str) -> bool:
        return file_in(self.folder, identifier, ".png").is_file()

    def _receive(self, example: Example, identifier: str, loader: int) -> None:
        try:
            first = self._loader_of.setdefault(identifier, loader)
            if first != loader:
                raise ValueError(f"loader {first} has an image of this id, too: its {self.noun} would be overwritten")
            if example.index is not None:
                self._indices[identifier] = example.index
            if self._is_done(identifier) or any(one.identifier == identifier for one in self._waiting):
                self.counts["skipped"] += 1
                return
            self._waiting.append(Waiting(example, identifier, loader, self._classes(example)))
        except Exception as error:
            self._failed(identifier, error)

    def _work(self, trainer: Trainer, module: LightningModule, at_end: bool) -> None:
        """Make the results of those that wait, in their order, if they are many or the last."""
        together = self._at_a_time(module.device)
        network = find_network(module, self.network)
        while self._waiting:
            window = together if together == 1 else WAITING * together
            if self._side_by_side > 1:  # the first image alone, in this process
                window = 1 if self._first is None else SHARE * self._side_by_side
            if not at_end and len(self._waiting) < window:
                return
            group, self._waiting = self._waiting[:window], self._waiting[window:]
            with (
                torch.inference_mode(False), torch.no_grad(), trainer.precision_plugin.forward_context(),
                self._threads(),
            ):  # fmt: skip
                if self._side_by_side > 1:
                    self._write_side_by_side(trainer, module, network, group)
                else:
                    self._write(trainer, module, network, group)

    def _possible(self, trainer: Trainer, device: torch.device) -> int:
        """How many processes work side by side."""
        wanted = self.processes
        if wanted is None:
            alone = trainer.world_size == 1  # else there are several processes already
            wanted = min(torch.get_num_threads(), MOST) if self._all_cores and alone else 1
        return wanted if wanted > 1 and can_fork(device) else 1

    def _threads(self) -> AbstractContextManager[None]:
        """With one thread in a run that has forks, also for what they do not make: the bytes do not depend on who."""
        return one_thread() if self._forks else nullcontext()

    def _write_side_by_side(
        self, trainer: Trainer, module: LightningModule, network: nn.Module, group: Sequence[Waiting]
    ) -> None:
        """Let forks make and save shares of a group; what they did not make is made here, where errors can be told."""
        assert self._manifest is not None
        if self._first is None:
            # here, so that what is imported, looked up or warned of once is there for all forks
            start = time.perf_counter()
            self._write(trainer, module, network, group)
            self._first = time.perf_counter() - start
            return
        prepared: list[tuple[Waiting, Any]] = []
        for one in group:
            with suppress(Exception):  # which comes again, and is told, below
                prepared.append((one, self._prepared(trainer, module, network, one)))
        shares = [prepared[i :: self._side_by_side] for i in range(self._side_by_side)]
        parts = [partial(self._make, module, network, share) for share in shares if share]
        told = forked(parts, PATIENCE[0] + PATIENCE[1] * self._first, lambda: trainer.received_sigterm)
        done = set(told)
        for identifier in done:
            self._manifest.clear_failure(identifier)
        self.counts["written"] += len(done)
        if trainer.received_sigterm:  # which has ended the forks
            raise SIGTERMException
        written = self.counts["written"]
        for one in group:
            if one.identifier not in done:
                self._write(trainer, module, network, [one])
        if self.counts["written"] > written:
            rank_zero_warn(
                f"{type(self).__name__}: {self.counts['written'] - written} images could be made in one process only, "
                "as when memory runs out; the others are made one after the other"
            )
            self._side_by_side = 1

    def _make(
        self,
        module: LightningModule,
        network: nn.Module,
        share: Sequence[tuple[Waiting, Any]],
        tell: Callable[[str], None],
    ) -> None:
        """Make and save what can be, in a fork; tell the identifiers of it."""
        together = self._at_a_time(module.device)
        for start in range(0, len(share), together):
            group = share[start : start + together]
            images, prepared = [one for one, _ in group], [found for _, found in group]
            try:
                for one, result in zip(images, self._results(module, network, images, prepared), strict=True):
                    self._save(one.identifier, result)
                    tell(one.identifier)
            except Exception:  # the main process tells it; each alone, so that one costs its own result only
                if len(group) > 1:
                    for pair in group:
                        self._make(module, network, [pair], tell)

    def _at_a_time(self, device: torch.device) -> int:
        """How many images are taken together: where nobody says, as the device likes it."""
        if self.together is not None:
            return self.together
        return 1 if device.type == "cpu" else ON_A_GPU

    def _write(self, trainer: Trainer, module: LightningModule, network: nn.Module, group: Sequence[Waiting]) -> None:
        assert self._manifest is not None
        try:
            prepared = [self._prepared(trainer, module, network, one) for one in group]
            results = self._results(module, network, group, prepared)
            for one, result in zip(group, results, strict=True):
                self._save(one.identifier, result)
        except Exception as error:
            if len(group) == 1:
                self._failed(group[0].identifier, error)
                return
        else:
            for one in group:
                self._manifest.clear_failure(one.identifier)
            self.counts["written"] += len(group)
            return
        if torch.cuda.is_available():  # memory may be what ran out
            torch.cuda.empty_cache()
        for one in group:  # each alone, so that one costs its own result only
            self._write(trainer, module, network, [one])

    def _failed(self, identifier: str, error: Exception) -> None:
        assert self._manifest is not None
        if isinstance(error, NonFiniteError):
            error = error.of(identifier)
        if self.on_error == "raise":
            raise error
        self.counts["failed"] += 1
        rank_zero_warn(
            f"{type(self).__name__}: image {identifier!r} has no {self.noun}: {type(error).__name__}: {error}"
        )
        with suppress(ValueError):  # an identifier that cannot name a file; the warning has said so
            self._manifest.record_failure(identifier, error)
