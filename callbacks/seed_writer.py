"""SeedWriter: `trainer.predict` fills a folder with seeds, on any strategy, and goes on where it was stopped.

Trainer(callbacks=[SeedWriter("seeds", {"method": "hedge", "refine": "crf"})]).predict(model, datamodule)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import nn

from hedgeseg.callbacks import trainer_context
from hedgeseg.callbacks.batches import BatchAdapter
from hedgeseg.callbacks.explanations import predicted_classes
from hedgeseg.callbacks.folder_writer import FolderWriter, Waiting
from hedgeseg.callbacks.photographs import photograph, photographs
from hedgeseg.seeds import SeedGenerator, write_seed
from hedgeseg.seeds.auto_level import Auto
from hedgeseg.seeds.formats import write_mask
from hedgeseg.seeds.formats.native import Precision, Scores
from hedgeseg.seeds.relevel import cut_again, forget_levels, is_cut_at, note_levels, pooled_levels
from hedgeseg.seeds.seed import Seed
from hedgeseg.seeds.wanted import Wanted


class SeedWriter(FolderWriter):
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
        target: `"label"`: the classes the image is labelled with; `"predicted"`: those the network sees in it.
        precision: of the scores on disk.
        scores: how much of the scores is kept on disk: `"full"`, `"quarter"` (means over 4 x 4 pixels, some 30 times
            smaller) or `"none"` (the mask alone).
        network: dotted path of the network in the LightningModule, if it cannot be found.
        batch_adapter: turns a batch of an unusual layout into a dict with `image`, `label`, `id`, ...
        on_error: `"warn"` records an image's failure and goes on; `"raise"` stops.
        together: so many images of one shape, with equally many classes, are explained in one call; with `flip` that
            is twice as many rows. Without it eight on a GPU, and one on a processor, where several gain a fifth at most
            and a resumed run is to give the same bytes (with several, rounding depends on the company).
        processes: so many work side by side on a CPU under Linux, with one thread each; one without it, and with
            `train.py predict` and `hedgeseg pipeline` as many as torch has threads, at most eight. Memory grows with
            them.
        log_samples: show so many images with their masks, and the true ones, in a table of Weights & Biases.
        artifact: keep the folder there as an Artifact, with its manifest as metadata.
        classes: former name of `target`.

    Attributes:
        counts: how many images of this process were `written`, `skipped` because they were done, and `failed`.

    Raises:
        ValueError: an argument out of range.
    """

    noun = "seed"

    def __init__(
        self,
        folder: str,
        generator: SeedGenerator | dict[str, Any] | None = None,
        target: Literal["label", "predicted"] = "label",
        *,
        precision: Precision = "float32",
        scores: Scores = "full",
        network: str | None = None,
        batch_adapter: BatchAdapter | None = None,
        on_error: Literal["warn", "raise"] = "warn",
        together: int | None = None,
        processes: int | None = None,
        log_samples: int = 0,
        artifact: bool = False,
        classes: Literal["label", "predicted"] | None = None,
    ) -> None:
        super().__init__(
            folder, target, classes=classes, network=network, batch_adapter=batch_adapter, on_error=on_error,
            together=together, processes=processes, log_samples=log_samples, artifact=artifact,
        )  # fmt: skip
        if scores not in get_args(Scores):
            raise ValueError(f"scores is one of {', '.join(get_args(Scores))}, got {scores!r}")
        self.generator = generator if isinstance(generator, SeedGenerator) else SeedGenerator(**(generator or {}))
        self.precision = precision
        self.scores = scores
        self._generator = self.generator

    def _settings(self, trainer: Trainer, network: nn.Module) -> dict[str, Any]:
        normalisation = trainer_context.normalisation(trainer)
        self._generator = self.generator if normalisation is None else self.generator.normalised_as(*normalisation)
        kept = {"precision": self.precision, "scores": self.scores}
        return {**self._generator.config(), "classes": self.target, **kept}

    def _prepared(self, trainer: Trainer, module: LightningModule, network: nn.Module, one: Waiting) -> Wanted:
        image = self._content.of(network, one.example, module.device)
        picture = photograph(trainer, one.loader, one.example) if self._generator.wants_picture else None
        return Wanted(image, one.classes or (), one.example.size, picture, one.identifier)

    def _results(
        self, module: LightningModule, network: nn.Module, group: Sequence[Waiting], prepared: Sequence[Wanted]
    ) -> list[Seed]:
        if self.target == "predicted":
            pairs = zip(prepared, group, strict=True)
            seen = [(wanted, predicted_classes(network, wanted.image[None], [one.example])) for wanted, one in pairs]
            prepared = [replace(wanted, classes=found) for wanted, (found,) in seen]
        return self._generator.several(network, prepared, self._at_a_time(module.device))

    def _finish(self, trainer: Trainer) -> None:
        if isinstance(self._generator.background, Auto) and self.scores != "none":
            self._cut_at_levels_of_all(trainer, self._generator.background)

    def _save(self, identifier: str, result: Seed) -> None:
        forget_levels(self.folder)
        self._keep(identifier, result)

    def _keep(self, identifier: str, seed: Seed) -> None:
        write_seed(self.folder, identifier, seed, precision=self.precision, scores=self.scores)

    def _save_again(self, identifier: str, seed: Seed) -> None:
        if self.scores == "full":
            self._keep(identifier, seed)
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
        shown = photographs(trainer, self._indices)
        with self._threads():
            left = cut_again(self.folder, levels, self._save_again, refiner, shown, side, part)
        trainer.strategy.barrier("seeds of the second pass")
        if left:
            rank_zero_warn(
                f"SeedWriter: {len(left)} masks keep the level of their image alone, such as {left[0]!r}: the "
                "refiner has no photograph of them (`image(index)` of the data set gives it; with images of another "
                "shard, run predict once more without --shard)"
            )
        elif trainer.is_global_zero:
            note_levels(self.folder, levels)
