"""Audits of a trained network: the model and the data of a configuration, the weights of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from hedgeseg.audit import Findings
from hedgeseg.callbacks import DatasetAudit
from hedgeseg.callbacks.stage_bar import StageBar
from hedgeseg.data import ImageDataModule, ImageSubset, LabelledImages, Sample, collate

Split = Literal["train", "val"]
CLASSIFIER = "hedgeseg.models.Classifier"


def audit(
    module: LightningModule,
    data: ImageDataModule,
    folder: str,
    splits: Sequence[Split] = ("train", "val"),
    accelerator: str = "auto",
    logger: Any = False,
    **options: Any,
) -> Findings | None:
    """Audit what a model learnt from and what it is validated on, together.

    The training images are shown as the validation images are: whole, without augmentation.

    Args:
        module: the trained model.
        data: its data.
        folder: of the audit; one that was stopped goes on.
        splits: which of the data.
        accelerator: as Lightning's Trainer takes it.
        logger: likewise.
        **options: of `DatasetAudit`.

    Returns:
        What was found; None if there was nothing to explain.

    Raises:
        ValueError: the data have none of the splits.
    """
    data.prepare_data()
    data.setup("fit")
    sets: dict[Split, LabelledImages | None] = {"train": data.train_dataset, "val": data.val_dataset}
    chosen = [(split, dataset) for split in splits if (dataset := sets[split]) is not None]
    if not chosen:
        raise ValueError(f"{type(data).__name__} has none of the splits {', '.join(splits)}")
    transform = None if data.val_dataset is None else data.val_dataset.transform
    found = None
    for split, dataset in chosen:
        shown = ImageSubset(dataset, range(len(dataset)), transform) if split == "train" else dataset
        callback = DatasetAudit(folder, split=split, conclude=split == chosen[-1][0], **options)
        trainer = Trainer(
            callbacks=[callback, StageBar(f"audit, {split}")],
            accelerator=accelerator,
            logger=logger,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
        trainer.validate(module, _loader(shown, data), verbose=False)
        found = callback.findings
    return found


def configured_model(model: Mapping[str, Any] | None, num_classes: int, checkpoint: Path) -> LightningModule:
    """The model that a configuration describes, with the weights of a checkpoint.

    Of a Classifier the checkpoint tells the arguments: it may have been trained with others on the command line.

    Args:
        model: the configuration's `model`: a class's path and arguments, or a Classifier's arguments alone.
        num_classes: of a Classifier whose configuration does not tell.
        checkpoint: that Lightning wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no weights, or those of another model.
    """
    from jsonargparse import ArgumentParser

    if not checkpoint.is_file():
        raise FileNotFoundError(f"there is no checkpoint {checkpoint}")
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    if state is None:
        raise ValueError(f"{checkpoint} is no checkpoint of Lightning: it has no 'state_dict'")
    given = dict(model or {})
    path = str(given.get("class_path", CLASSIFIER))
    arguments = dict(given.get("init_args") or {}) if "class_path" in given else given
    if path.rsplit(".", 1)[-1] == "Classifier":
        told = {k: v for k, v in content.get("hyper_parameters", {}).items() if not k.startswith("_")}
        # The checkpoint has the weights; those that training began with may have to be downloaded.
        path, arguments = CLASSIFIER, {"num_classes": num_classes, **arguments, **told, "weights": None}
    described = {"class_path": path, "init_args": arguments}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningModule, "model", required=True)
    # jsonargparse 4.49 gave it another name
    instantiate = parser.instantiate if hasattr(parser, "instantiate") else parser.instantiate_classes
    module = instantiate(parser.parse_object({"model": described})).model
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{checkpoint} does not fit the model of the configuration: {error}") from error
    return module


def _loader(dataset: LabelledImages, data: ImageDataModule) -> DataLoader[Sample]:
    return DataLoader(
        dataset,
        batch_size=1 if data.keep_shape else data.batch_size,
        num_workers=data.num_workers,
        collate_fn=collate,
    )
