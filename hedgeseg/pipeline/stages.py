"""The stages: each makes the files of one folder from those of the stages before it, and says what came of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hedgeseg.callbacks.batches import read_batch
from hedgeseg.callbacks.content import Content
from hedgeseg.callbacks.mask_writer import MaskWriter
from hedgeseg.callbacks.seed_writer import SeedWriter
from hedgeseg.data import ImageSubset, LabelledImages, PseudoMasked, collate
from hedgeseg.models import Classifier, Segmenter
from hedgeseg.models.input_statistics import input_statistics
from hedgeseg.pipeline.images import StageData, unfinished
from hedgeseg.pipeline.networks import all_but_the_head, segmenter_arch, trained_classifier
from hedgeseg.pipeline.predicting import predict
from hedgeseg.pipeline.pseudo_masks import Looking, write_pseudo_masks
from hedgeseg.pipeline.settings import PipelineSettings
from hedgeseg.pipeline.training import WEIGHTS, fit
from hedgeseg.pipeline.work import Work
from hedgeseg.seeds import SeedGenerator
from hedgeseg.seeds.formats import has_seed
from hedgeseg.seeds.formats.prediction import has_prediction
from hedgeseg.seeds.manifest import failures_in

_SHOWN = ("epochs", "image_size", "fit", "crop", "min_scale", "batch_size", "num_workers", "views")
FEATURES = "features"


def classifier(work: Work) -> dict[str, Any]:
    """Learn the labels; keep the epoch that knows those of the held back images best."""
    options = work.settings.classifier
    images = work.images
    torch.manual_seed(work.settings.seed)
    told: dict[str, Any] = {key: value for key, value in options.items() if key not in (*_SHOWN, "precision")}
    frozen = told["freeze"] == "trunk"
    if told["freeze"] == "trunk":
        told["freeze"] = all_but_the_head(options["arch"])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*becomes an untrained one")  # it is what is learnt here
        module = Classifier(len(images.classes), task=images.train.task, **told)
    metric = "map" if images.train.task == "multilabel" else "accuracy"
    data = StageData(
        images,
        input_statistics(options["arch"]),
        **shown(options if frozen else {**options, "views": None}),
        train=images.train,
        val=images.val,
        seed=work.settings.seed,
        features=work.folder(FEATURES),
        progress=work.progress,
    )
    found = _fit(work, module, data, "classifier", options, f"val/{metric}")
    return {"metric": metric, "value": found.get("best"), metric: found.get("best"), "epoch": found["epoch"]}


def seed_generator(settings: PipelineSettings) -> SeedGenerator:
    """What makes the seeds."""
    mean, std = input_statistics(settings.classifier["arch"])
    told = {key: value for key, value in settings.seeds.items() if key not in (*_SHOWN, "held_back")}
    return SeedGenerator(**told, mean=mean, std=std)


def seeds(work: Work) -> dict[str, Any]:
    """Scores of the labelled classes in every image, by what the classifier looks at."""
    folder = work.folder("seeds") / "files"
    generator = seed_generator(work.settings)
    seeded = _seeded(work)
    names = seeded.ids
    left = unfinished(seeded, [folder.is_dir() and has_seed(folder, name) for name in names])
    if left is not None:
        network = trained_classifier(work)
        statistics = input_statistics(work.settings.classifier["arch"])
        data = StageData(work.images, statistics, **shown(work.settings.seeds), predict=left)
        writer = SeedWriter(str(folder), generator, precision="float16")
        predict(network, data, writer, len(work.images.classes), "seeds", work.accelerator, work.progress)
    return {"images": len(names), "failed": _failed(folder, names)}


def pseudo_masks(work: Work) -> dict[str, Any]:
    """Masks to learn from: background placed, edges followed."""
    folder = work.folder("pseudo_masks") / "files"
    seeded, options = _seeded(work), work.settings.pseudo_masks
    looking = _looking(work, seeded) if options["refit"] else None
    write_pseudo_masks(work.folder("seeds") / "files", folder, seeded, options, work.progress, looking)
    return {"images": sum(has_prediction(folder, name) for name in seeded.ids)}


def segmenter(work: Work) -> dict[str, Any]:
    """Learn to segment from the pseudo-masks of the images that are learnt from."""
    masks = work.folder("pseudo_masks") / "files"
    limit = float(work.settings.segmenter["ignore_below"])
    train = PseudoMasked(work.images.train, masks, missing="skip", ignore_below=limit)
    watched = bool(work.settings.seeds["held_back"])
    val = PseudoMasked(work.images.val, masks, missing="skip", ignore_below=limit) if watched else None
    found = _segmenter(work, "segmenter", train, val)
    return {"pseudo_miou": found.get("val/pseudo_miou"), "epoch": found["epoch"]}


def masks(work: Work) -> dict[str, Any]:
    """What the segmentation network says of every image, at the image's own size."""
    return _masks(work, work.folder("segmenter") / WEIGHTS, work.folder("masks"), work.images.everything)


def supervised(work: Work) -> dict[str, Any]:
    """The same network, learning from the true masks of the same images: the yardstick."""
    if work.truth is None:
        raise ValueError("the yardstick needs true masks: give --masks")
    train, val = _masked(work.truth.train), _masked(work.truth.val)
    if not len(train) or not len(val):
        raise ValueError("the yardstick needs true masks of images to learn from and of images that are held back")
    found = _segmenter(work, "supervised", train, val)
    folder = work.folder("supervised")
    return {**_masks(work, folder / WEIGHTS, folder / "masks", work.images.val), "epoch": found["epoch"]}


RUNS: dict[str, Callable[[Work], dict[str, Any]]] = {
    "classifier": classifier,
    "seeds": seeds,
    "pseudo_masks": pseudo_masks,
    "segmenter": segmenter,
    "masks": masks,
    "supervised": supervised,
}

NEEDS: dict[str, tuple[str, ...]] = {
    "classifier": (),
    "seeds": ("classifier",),
    "pseudo_masks": ("seeds",),
    "segmenter": ("classifier", "pseudo_masks"),
    "masks": ("segmenter",),
    "supervised": ("classifier",),
}
"""Stages whose files a stage reads."""


def segmenter_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings that are options of `Segmenter`, but for network, weights and gate."""
    others = (*_SHOWN, "ignore_below", "augment", "arch", "weights", "gate", "precision")
    return {key: value for key, value in options.items() if key not in others}


def _segmenter(work: Work, stage: str, train: LabelledImages, val: LabelledImages | None) -> dict[str, float]:
    options = work.settings.segmenter
    arch, statistics = segmenter_arch(work.settings), input_statistics(work.settings.classifier["arch"])
    torch.manual_seed(work.settings.seed)
    weights = str(work.classifier_file) if options["weights"] == "classifier" and arch != "unet" else options["weights"]
    module = Segmenter(
        len(work.images.classes),
        arch,
        None if arch == "unet" else weights,
        **segmenter_options(options),
        gate=str(work.classifier_file) if options["gate"] else None,
        gate_strength=float(options["gate"]),
    )
    data = StageData(
        work.images,
        statistics,
        **shown(options),
        train=train,
        val=val,
        augment=bool(options["augment"]),
        seed=work.settings.seed,
        features=work.folder(FEATURES),
        progress=work.progress,
    )
    every = max(1, options["epochs"] // 4)
    return _fit(work, module, data, stage, options, None, every)


def _fit(
    work: Work,
    module: Any,
    data: StageData,
    stage: str,
    options: dict[str, Any],
    monitor: str | None,
    check_every: int = 1,
) -> dict[str, float]:
    return fit(
        module,
        data,
        work.folder(stage),
        epochs=options["epochs"],
        precision=options["precision"],
        seed=work.settings.seed,
        name=stage,
        monitor=monitor,
        check_every=check_every,
        accelerator=work.accelerator,
        logger=work.logger(stage),
        progress=work.progress,
    )


def mask_generator_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings that are options of `MaskGenerator`."""
    return {key: value for key, value in options.items() if key not in ("classes", "batch_size")}


def _masks(work: Work, checkpoint: Path, folder: Path, dataset: LabelledImages) -> dict[str, Any]:
    module = Segmenter.load(checkpoint)
    options = work.settings.masks
    classes, batch = options["classes"], options["batch_size"]
    files = folder / "files"
    left = unfinished(dataset, [files.is_dir() and has_prediction(files, name) for name in dataset.ids])
    if left is not None:
        statistics = (tuple(module.input["mean"]), tuple(module.input["std"]))
        size, way = module.input["image_size"], module.input["fit"]
        data = StageData(work.images, statistics, size, batch, predict=left, fit=way)
        generator = {**mask_generator_options(options), "mean": statistics[0], "std": statistics[1]}
        writer = MaskWriter(str(files), generator, classes, confidence=False)
        precision = work.settings.segmenter["precision"]
        predict(module, data, writer, module.num_classes, folder.name, work.accelerator, work.progress, precision)
    return {"images": sum(has_prediction(files, name) for name in dataset.ids)}


def _seeded(work: Work) -> LabelledImages:
    """Images that get seeds: the held back ones are only watched, and may do without."""
    return work.images.everything if work.settings.seeds["held_back"] else work.images.train


def _looking(work: Work, dataset: LabelledImages) -> Looking:
    """The classifier, and the images as they were shown to it for the seeds."""
    statistics = input_statistics(work.settings.classifier["arch"])
    pictures = StageData(work.images, statistics, **shown(work.settings.seeds), predict=dataset).predict_dataset
    device = torch.device(
        "cuda" if work.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else "cpu"
    )
    network, content = trained_classifier(work).to(device), Content()

    def image(index: int) -> Tensor:
        assert pictures is not None
        (example,) = read_batch(collate([pictures[index]]), str(index))
        return content.of(network, example, device)

    return Looking(network, image)


def _masked(dataset: LabelledImages) -> ImageSubset:
    return ImageSubset(dataset, [index for index in range(len(dataset)) if dataset.mask(index) is not None])


def _failed(folder: Path, names: list[str]) -> list[str]:
    known = set(names)
    return sorted(name for name in failures_in(folder) if name in known)


def shown(options: dict[str, Any]) -> dict[str, Any]:
    """What a stage's images are shown like."""
    return {key: options[key] for key in _SHOWN if key in options and key != "epochs"}
