"""SeedWriter: `trainer.predict` fills a folder with seeds, on any strategy, and goes on where it was stopped.

Trainer(callbacks=[SeedWriter("seeds", {"method": "hedge", "refine": "crf"})]).predict(model, datamodule)
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import nn

from hedgeseg.attribution.errors import NonFiniteError
from hedgeseg.callbacks import trainer_context
from hedgeseg.callbacks.batches import BatchAdapter, Example, read_batch
from hedgeseg.callbacks.content import Content
from hedgeseg.callbacks.explanations import predicted_classes
from hedgeseg.callbacks.network import find_network
from hedgeseg.callbacks.photographs import photograph, photographs
from hedgeseg.callbacks.resuming import leave_out_done
from hedgeseg.callbacks.seed_settings import data_settings, network_settings
from hedgeseg.seeds import SeedGenerator, write_seed
from hedgeseg.seeds.auto_level import Auto
from hedgeseg.seeds.formats import has_seed, write_mask
from hedgeseg.seeds.formats.native import Precision, Scores
from hedgeseg.seeds.manifest import Manifest, open_folder, weights_hash
from hedgeseg.seeds.relevel import cut_again, forget_levels, is_cut_at, note_levels, pooled_levels
from hedgeseg.seeds.seed import Seed


class SeedWriter(BasePredictionWriter):
    """Writes one pair of files per image: `<id>.png`, the mask in VOC's palette, and `<id>.npz`, the scores.

    Seeds have the image's original size where the batch tells it (`size`); padding (`content_size`) is cut off before
    anything looks at the image. The folder remembers what it was made with: a second run does what is missing, and a
    run with other settings or weights is refused. An image that fails is named and counted, and the others go on.
    Images that have their seed are not even read again, where the data module is one of hedgeseg and no other callback
    wants the predictions.

    With `background: auto` the masks are cut twice: each at the level of its image at first, and at the end all in the
    folder at the levels of their classes over all its images, which `levels.json` tells. The second cut is made from
    the scores that were kept; with `scores="none"` the masks stay at the levels of their images.

    Args:
        folder: made if it does not exist.
        generator: a SeedGenerator or its options; the defaults of SeedGenerator without it.
        classes: `"label"`: the classes the image is labelled with; `"predicted"`: those the network sees in it.
        precision: of the scores on disk.
        scores: how much of the scores is kept on disk: `"full"`, `"quarter"` (means over 4 x 4 pixels, some 30 times
            smaller) or `"none"` (the mask alone).
        network: dotted path of the network in the LightningModule, if it cannot be found.
        batch_adapter: turns a batch of an unusual layout into a dict with `image`, `label`, `id`, ...
        on_error: `"warn"` records an image's failure and goes on; `"raise"` stops.

    Attributes:
        counts: how many images of this process were `written`, `skipped` because they were done, and `failed`.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        folder: str,
        generator: SeedGenerator | dict[str, Any] | None = None,
        classes: Literal["label", "predicted"] = "label",
        *,
        precision: Precision = "float32",
        scores: Scores = "full",
        network: str | None = None,
        batch_adapter: BatchAdapter | None = None,
        on_error: Literal["warn", "raise"] = "warn",
    ) -> None:
        super().__init__(write_interval="batch")
        if classes not in ("label", "predicted"):
            raise ValueError(f"classes is 'label' or 'predicted', got {classes!r}")
        if scores not in get_args(Scores):
            raise ValueError(f"scores is one of {', '.join(get_args(Scores))}, got {scores!r}")
        if on_error not in ("warn", "raise"):
            raise ValueError(f"on_error is 'warn' or 'raise', got {on_error!r}")
        self.folder = Path(folder)
        self.generator = generator if isinstance(generator, SeedGenerator) else SeedGenerator(**(generator or {}))
        self.classes = classes
        self.precision = precision
        self.scores = scores
        self.network = network
        self.batch_adapter = batch_adapter
        self.on_error = on_error
        self.counts = {"written": 0, "skipped": 0, "failed": 0}
        self._manifest: Manifest | None = None
        self._generator = self.generator
        self._loader_of: dict[str, int] = {}
        self._content = Content()
        self._indices: dict[str, int] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse strategies under which no process holds the network; tell the data which images have their seed."""
        super().setup(trainer, pl_module, stage)
        trainer_context.refuse_sharded(trainer, "SeedWriter")
        if stage == "predict":
            leave_out_done(trainer)

    def is_pending(self, identifier: str) -> bool:
        """Whether an image has no seed yet; one whose id cannot name a file is met, and named, in its turn."""
        try:
            return not has_seed(self.folder, identifier)
        except ValueError:
            return True

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the folder, or refuse one that was made with other settings."""
        network = find_network(pl_module, self.network)
        names = list(trainer_context.class_names(trainer, pl_module))
        normalisation = trainer_context.normalisation(trainer)
        self._generator = self.generator if normalisation is None else self.generator.normalised_as(*normalisation)
        settings = {
            **self._generator.config(),
            "classes": self.classes,
            "class_names": names,
            "precision": self.precision,
            "scores": self.scores,
            "data": data_settings(trainer),
            "network": network_settings(network),
        }
        self._manifest = open_folder(self.folder, {**settings, "weights": weights_hash(network)})
        left_out = getattr(getattr(trainer, "datamodule", None), "left_out", 0)
        self.counts = {"written": 0, "skipped": left_out if trainer.is_global_zero else 0, "failed": 0}
        self._loader_of, self._content = {}, Content()

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
        """Write the seeds of a batch."""
        network = find_network(pl_module, self.network)
        with torch.inference_mode(False), torch.no_grad(), trainer.precision_plugin.forward_context():
            for position, example in enumerate(read_batch(batch, str(batch_idx), self.batch_adapter)):
                identifier = example.key
                if not example.named:  # then its place in the data set names it
                    place = f"{batch_indices[position]:06d}" if batch_indices else f"{batch_idx:06d}_{position}"
                    identifier = f"{dataloader_idx}_{place}"
                self._write(trainer, network, pl_module.device, example, identifier, dataloader_idx)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what was done."""
        assert self._manifest is not None
        if isinstance(self._generator.background, Auto) and self.scores != "none":
            self._cut_at_levels_of_all(trainer, self._generator.background)
        summary = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        rank_zero_info(f"SeedWriter: {summary}; the seeds are in {self.folder}")
        failures = self._manifest.failures()
        if failures:
            named = "; ".join(f"{identifier}: {reason}" for identifier, reason in list(failures.items())[:5])
            rank_zero_warn(f"SeedWriter: {len(failures)} images have no seed, a later run tries them again ({named})")

    def _write(
        self, trainer: Trainer, network: nn.Module, device: torch.device, example: Example, identifier: str, loader: int
    ) -> None:
        assert self._manifest is not None
        try:
            first = self._loader_of.setdefault(identifier, loader)
            if first != loader:
                raise ValueError(f"loader {first} has an image of this id, too: its seed would be overwritten")
            if example.index is not None:
                self._indices[identifier] = example.index
            if self._manifest.is_done(identifier):
                self.counts["skipped"] += 1
                return
            image = self._content.of(network, example, device)
            classes = self._classes(network, image, example)
            wanted = self._generator.wants_picture
            picture = photograph(trainer, loader, example) if wanted else None
            seed = self._generator(network, image, classes, size=example.size, picture=picture)
            forget_levels(self.folder)
            self._save(identifier, seed)
            self._manifest.clear_failure(identifier)
            self.counts["written"] += 1
        except Exception as error:
            if isinstance(error, NonFiniteError):
                error = error.of(identifier)
            if self.on_error == "raise":
                raise error
            self.counts["failed"] += 1
            rank_zero_warn(f"SeedWriter: image {identifier!r} has no seed: {type(error).__name__}: {error}")
            self._record_failure(identifier, error)

    def _save(self, identifier: str, seed: Seed) -> None:
        write_seed(self.folder, identifier, seed, precision=self.precision, scores=self.scores)

    def _save_again(self, identifier: str, seed: Seed) -> None:
        if self.scores == "full":
            self._save(identifier, seed)
        else:  # scores that were made smaller once stay as they are
            write_mask(self.folder, identifier, seed.mask)

    def _cut_at_levels_of_all(self, trainer: Trainer, rule: Auto) -> None:
        """The second pass of `background: auto`, shared by the processes; see `hedgeseg.seeds.relevel`."""
        trainer.strategy.barrier("seeds of the first pass")
        levels = pooled_levels(self.folder, rule)
        done = is_cut_at(self.folder, levels)
        trainer.strategy.barrier("levels of all seeds")
        if done:
            return
        part = (trainer.global_rank, trainer.world_size)
        refiner, side = self._generator.refiner, self._generator.refine_side
        left = cut_again(
            self.folder, levels, self._save_again, refiner, photographs(trainer, self._indices), side, part
        )
        trainer.strategy.barrier("seeds of the second pass")
        if left:
            rank_zero_warn(
                f"SeedWriter: {len(left)} masks keep the level of their image alone, such as {left[0]!r}: the "
                "refiner has no photograph of them (`image(index)` of the data set gives it; with images of another "
                "shard, run predict once more without --shard)"
            )
        elif trainer.is_global_zero:
            note_levels(self.folder, levels)

    def _record_failure(self, identifier: str, error: Exception) -> None:
        assert self._manifest is not None
        with suppress(ValueError):  # an identifier that cannot name a file; the warning has said so
            self._manifest.record_failure(identifier, error)

    def _classes(self, network: nn.Module, image: torch.Tensor, example: Example) -> list[int]:
        if self.classes == "predicted":
            return predicted_classes(network, image[None], [example])[0]
        if example.labels is None:
            raise ValueError("the batch has no labels; use classes='predicted' or give batch_adapter")
        return list(example.labels)
