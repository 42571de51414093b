"""A pipeline from what a user gives: a folder, a configuration, a few options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from hedgeseg.data import ImageDataModule
from hedgeseg.pipeline.images import PipelineImages
from hedgeseg.pipeline.networks import choose_arch
from hedgeseg.pipeline.run import run_pipeline
from hedgeseg.pipeline.settings import PipelineSettings, image_data, read_config, read_settings
from hedgeseg.pipeline.work import Work


def start(
    root: str | Path,
    out: str | Path,
    *,
    background: str | Sequence[str] | None = None,
    csv: str | None = None,
    config: str | Path | None = None,
    arch: str | None = None,
    weights: str | None = None,
    epochs: int | None = None,
    image_size: int | None = None,
    masks: str | Path | None = None,
    compare: bool = False,
    stages: Sequence[str] = (),
    seed: int | None = None,
    accelerator: str = "auto",
    wandb: bool = False,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """From labels to a segmentation network and its masks; see `run_pipeline` for what comes out.

    Args:
        root: of the pictures, `root/<class>/<image>` without `csv` and `config`.
        out: folder of everything that is written.
        background: class folder, or folders, of pictures without anything to find.
        csv: table of labels inside `root`.
        config: YAML file whose `data`, `model` and `pipeline` say what differs from the defaults.
        arch: of both networks, see `choose_arch`.
        weights: that the classifier starts from; "none" at random.
        epochs: of both trainings.
        image_size: pixels of a side, for all stages.
        masks: folder of true masks; "" takes those that the data come with; None looks at none.
        compare: also train the same network on the true masks, needs `masks`.
        stages: names of those to run; all without.
        seed: of everything random.
        accelerator: as Lightning's Trainer takes it.
        wandb: log both trainings to Weights & Biases, offline.
        progress: show bars.
        say: is told one line at a time what happens.

    Raises:
        FileNotFoundError: `root`, `config` or `masks` is missing.
        ValueError: options that do not fit each other or the data.
    """
    if compare and masks is None:
        raise ValueError("--compare trains on the true masks: say where they are with --masks DIR, or --masks alone")
    if masks and not Path(masks).is_dir():
        raise FileNotFoundError(f"--masks {masks}: there is no such folder")
    content = {} if config is None else read_config(Path(config))
    settings = read_settings(content)
    _override(settings, arch, weights, epochs, image_size, seed)
    told = {"root": str(root), "csv": csv, "background": background}

    def images(with_masks: bool) -> PipelineImages:
        given = {**told, **({"masks": str(Path(masks).resolve())} if with_masks and masks else {})}
        return PipelineImages(_data_module(image_data(content), given), masks=with_masks)

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    work = Work(
        settings,
        images(with_masks=False),
        out,
        images(with_masks=True) if masks is not None else None,
        accelerator,
        progress,
        (lambda stage: _wandb(out, stage)) if wandb else (lambda stage: None),
    )
    return run_pipeline(work, stages, compare=compare, say=say)


def _override(
    settings: PipelineSettings,
    arch: str | None,
    weights: str | None,
    epochs: int | None,
    image_size: int | None,
    seed: int | None,
) -> None:
    if arch is not None:
        choose_arch(settings, arch)
    if weights is not None:
        settings.classifier["weights"] = None if weights.lower() in ("none", "null") else weights
    if epochs is not None:
        if epochs < 1:
            raise ValueError(f"--epochs must be positive, got {epochs}")
        settings.classifier["epochs"] = settings.segmenter["epochs"] = epochs
    if image_size is not None:
        for options in (settings.classifier, settings.seeds, settings.segmenter):
            options["image_size"] = image_size
    if seed is not None:
        settings.seed = seed


def _data_module(data: Mapping[str, Any] | None, told: Mapping[str, Any]) -> ImageDataModule:
    """The data module of a configuration, or of class folders, with what the command line says put in its place."""
    from jsonargparse import ArgumentError, ArgumentParser

    if data is None:
        data = {"class_path": "hedgeseg.data.FolderDataModule", "init_args": {}}
    data = _with(data, {key: value for key, value in told.items() if value is not None})
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ImageDataModule, "data", required=True)
    try:
        # jsonargparse 4.49 gave it another name
        instantiate = parser.instantiate if hasattr(parser, "instantiate") else parser.instantiate_classes
        found = instantiate(parser.parse_object({"data": data})).data
    except ArgumentError as error:
        raise ValueError(str(error)) from error
    assert isinstance(found, ImageDataModule)
    return found


def _with(data: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """Options for the innermost data module, which knows the files."""
    options = dict(data.get("init_args") or {})
    inner = options.get("data")
    if isinstance(inner, Mapping):
        return {**data, "init_args": {**options, "data": _with(inner, told)}}
    options.update(told)
    return {**data, "init_args": options}


def _wandb(out: Path, stage: str) -> Logger:
    from lightning.pytorch.loggers import WandbLogger

    from hedgeseg.callbacks.panels import hush_wandb

    hush_wandb()
    return WandbLogger(name=f"{out.name}/{stage}", project="hedgeseg", offline=True, save_dir=str(out))
