"""Evaluation: `trainer.test` scores a list of attribution methods by the paper's protocol.

Evaluation("runs/evaluation", ["hedge", "hedge gamma=2", "grad_cam"], Protocol(metrics=("pointing_game",)))
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor

from hedgeseg.callbacks import trainer_context
from hedgeseg.callbacks.batches import BatchAdapter, Example, read_batch
from hedgeseg.callbacks.network import find_network
from hedgeseg.evaluation import Annotations, Case, Evaluator, MethodRun, Protocol, make_case, write_report
from hedgeseg.metrics.canvas import IMAGENET_MEAN, IMAGENET_STD


class Evaluation(Callback):
    """Explains every test image by every method, and at the end writes tables, comparisons and plots.

    Every image's numbers are in the folder as soon as they are known: a run that was stopped goes on where it was, and
    further methods can be added later. A folder made with another network, data or protocol is refused.

    Args:
        folder: made if it does not exist; gets `results.md`, `results.csv`, `comparisons.csv`, `results.json` and
            `plots/`.
        methods: such as `hedge`, `hedge gamma=2`, `rise masks=500 limit=20`; with a limit, only
            so many images of the data set, drawn at random (always the same ones).
        protocol: what is asked of every map.
        compare: pairs of methods to compare, as they are written in `methods` without their limit; None compares every
            method with the first.
        plots: also draw plots.
        network: dotted path of the network in the LightningModule, if it cannot be found.
        batch_adapter: turns a batch of an unusual layout into a dict with `image`, `label`, `mask`, `id`, ...

    Raises:
        ValueError: an unknown method, option or metric, or a method that is given twice.
    """

    def __init__(
        self,
        folder: str,
        methods: list[str],
        protocol: Protocol | None = None,
        *,
        compare: list[tuple[str, str]] | None = None,
        plots: bool = True,
        network: str | None = None,
        batch_adapter: BatchAdapter | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.methods = [MethodRun.parse(text) for text in methods]
        self.protocol = Protocol() if protocol is None else protocol
        self.compare = compare
        self.plots = plots
        self.network = network
        self.batch_adapter = batch_adapter
        self._evaluator: Evaluator | None = None
        self._seen: dict[int, int] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse strategies under which no process holds the network."""
        trainer_context.refuse_sharded(trainer, "Evaluation")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the folder, or refuse one that was made with other settings."""
        classes = trainer_context.class_names(trainer, pl_module)
        if not classes:
            raise ValueError("Evaluation needs the names of the classes: give the data module an attribute `classes`")
        mean, std = trainer_context.normalisation(trainer) or (IMAGENET_MEAN, IMAGENET_STD)
        self._evaluator = Evaluator(
            self.folder, self.methods, self.protocol, classes, mean, std, process=trainer.global_rank
        )
        self._evaluator.open(find_network(pl_module, self.network))
        self._seen = {}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Explain and score the images of a batch."""
        assert self._evaluator is not None
        network = find_network(pl_module, self.network)
        dataset = list(trainer_context.datasets(trainer))[dataloader_idx]
        with torch.inference_mode(False), torch.no_grad(), trainer.precision_plugin.forward_context():
            examples = read_batch(batch, "", self.batch_adapter)
            start = self._seen.get(dataloader_idx, 0)
            self._seen[dataloader_idx] = start + len(examples)
            places = [image_position(example, start + i, trainer, dataset) for i, example in enumerate(examples)]
            drawn = turns(dataset)
            cases = [
                self._case(
                    example, dataset, f"{dataloader_idx}_{place}", place if drawn is None else drawn[place % len(drawn)]
                )
                for example, place in zip(examples, places, strict=True)
                if example.labels
            ]
            for _, group in groupby(cases, key=lambda case: case.image.shape):
                self._evaluator.add(network, list(group))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for all processes, then write and print the tables."""
        assert self._evaluator is not None
        for label, reason in self._evaluator.failures.items():
            rank_zero_warn(f"Evaluation: {label} cannot explain this network: {reason}")
        trainer.strategy.barrier("evaluation")
        if trainer.is_global_zero:
            text = write_report(self.folder, self.compare, self.plots)
            rank_zero_info(f"\n{text}\n\nEvaluation: tables and plots are in {self.folder}")

    def _case(self, example: Example, dataset: Any, place: str, turn: int) -> Case:
        picture = example.picture
        mask = None if example.mask is None else example.within(example.mask)
        return make_case(
            example.key if example.named else place,
            picture,
            example.labels or (),
            Annotations((picture.shape[1], picture.shape[2]), mask, example.boxes, example.box_labels, example.void),
            self.protocol,
            _original(example, dataset),
            example.exclusive,
            turn,
        )


def image_position(example: Example, number: int, trainer: Trainer, dataset: Any) -> int:
    """The image's place in the data set: what its batch says, or else what the order of the loader implies.

    Processes take turns in a distributed loader, which begins anew where it needs some images twice.
    """
    if example.index is not None:
        return example.index
    place = number * trainer.world_size + trainer.global_rank
    return place % len(dataset) if hasattr(dataset, "__len__") else place


def turns(dataset: Any) -> Sequence[int] | None:
    """When each image of a data set comes if they are drawn at random, always in the same order; None without a length.

    The first images of a folder are often of one class; the first that are drawn stand for all.
    """
    if not hasattr(dataset, "__len__"):
        return None
    return cast(list[int], torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0)).tolist())


def _original(example: Example, dataset: Any) -> Annotations | None:
    """Annotations at the original size, where the data set can give them."""
    if example.index is None or example.size is None:
        return None
    mask = _tensor(dataset.mask(example.index)) if hasattr(dataset, "mask") else None
    boxes = [_tensor(part) for part in dataset.boxes(example.index)] if hasattr(dataset, "boxes") else [None, None]
    if mask is None and (boxes[0] is None or not len(boxes[0])):
        return None
    return Annotations(example.size, mask, boxes[0], boxes[1], example.void)


def _tensor(values: Any) -> Tensor | None:
    if values is None:
        return None
    array = np.asarray(values)
    return torch.from_numpy(array.astype(np.int64) if array.dtype.kind in "iu" else array)
