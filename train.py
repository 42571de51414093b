"""Train, watch, make seeds and score them.

uv run train.py                                     the quick start: everything below on embedded data
uv run train.py fit --config configs/shapes.yaml    train a classifier and watch it
uv run train.py validate | test --config ...        evaluate and explain it
uv run train.py predict --config ... [--ckpt_path]  write seeds (SeedWriter in the config) and score them
                        [--shard 0/4]               the first of four disjoint parts; several may fill one folder
uv run train.py fit --config configs/segment_*.yaml learn to segment from the seeds

Any option of a configuration can be given on the command line; `--help` lists them, `--print_config` shows the result.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

import hedgeseg.data  # noqa: F401 - its data modules can be named in a configuration by their class names
from hedgeseg.callbacks import SeedWriter
from hedgeseg.callbacks.folder_writer import FolderWriter
from hedgeseg.callbacks.panels import hush_wandb
from hedgeseg.callbacks.stage_bar import StageBar
from hedgeseg.data import ImageDataModule
from hedgeseg.quiet import as_notes, quiet
from hedgeseg.seeds.manifest import parse_shard
from hedgeseg.seeds.score import score_folder
from hedgeseg.seeds.table import score_table, write_scores

HERE = Path(__file__).resolve().parent
QUICK_METHODS = {"hedge": {"method": "hedge", "gamma": 2.0}, "grad_cam": {"method": "grad_cam"}}


class CommandLine(LightningCLI):
    """`fit | validate | test | predict` of a Classifier, or of the LightningModule whose `class_path` a config names.

    `predict` takes `--shard i/n`, and scores the seeds it wrote where the data has true masks.
    """

    def __init__(self, args: Sequence[str] | None = None) -> None:
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            # fit and predict may share a folder; what a run was made with is what it was called with last
            save_config_kwargs={"overwrite": True},
            args=args,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """A config that names no model means a classifier."""
        parser.set_defaults({"model": {"class_path": "hedgeseg.models.Classifier"}})
        parser.add_argument("--shard", type=str | None, default=None, help="predict: only part i of n, as in 0/4")
        parser.add_argument("--detection", type=bool, default=False, help="predict: also score regions as detections")
        parser.add_argument("--pipeline", type=dict | None, default=None, help="read by `hedgeseg pipeline` alone")

    def before_instantiate_classes(self) -> None:
        """Refuse what would be ignored; give the model the classes and the task of the data, where it names none."""
        command = self.config.subcommand
        if command != "predict" and self.config[command].shard is not None:
            raise ValueError(f"--shard is an option of predict, not of {command}")
        if _is_offline(self.config[command].trainer.logger):
            hush_wandb()
        take_from_data(self.config[command])

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, with one bar for the whole of its work unless the configuration has another or wants none."""
        given = self.config_init[self.config_init.subcommand].trainer
        own = given.callbacks if isinstance(given.callbacks, list) else [given.callbacks]
        if given.enable_progress_bar is not False and not any(isinstance(callback, ProgressBar) for callback in own):
            self.trainer_defaults = {**self.trainer_defaults, "callbacks": [StageBar()]}
        return super().instantiate_trainer(**kwargs)

    def before_predict(self) -> None:
        """Use all cores; leave the other shards' images to them."""
        for callback in self.trainer.callbacks:
            if isinstance(callback, FolderWriter):
                callback.take_all_cores()
        shard = self.config.predict.shard
        if shard is None:
            return
        if not isinstance(self.datamodule, ImageDataModule):
            raise TypeError(
                f"--shard needs a data module of hedgeseg.data, got {type(self.datamodule).__name__}; cut its data "
                "set yourself, seeds of several runs may go to one folder"
            )
        self.datamodule.predict_shard = parse_shard(shard)

    def after_predict(self) -> None:
        """Score what the SeedWriters of the configuration wrote."""
        score_seed_folders(self.trainer, self.datamodule, self.config.predict.detection)


def _is_offline(loggers: Any) -> bool:
    """Whether the configuration logs to Weights & Biases, and only on this machine."""
    given = loggers if isinstance(loggers, list) else [loggers]
    wandb = [logger for logger in given if str(getattr(logger, "class_path", "")).endswith("WandbLogger")]
    return bool(wandb) and all(logger.init_args.get("offline") for logger in wandb)


def take_from_data(config: Namespace) -> None:
    """Fill what is null of the model's `num_classes` (with `classes`, their names) and `task` from the data module.

    Args:
        config: Of a subcommand; changed in place.
    """
    given = config.model.get("init_args") if config.get("model") else None
    if not given or not config.get("data"):
        return
    unnamed = "num_classes" in given and given.num_classes is None and given.get("classes") is None
    if not unnamed and not ("task" in given and given.task is None):
        return
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    # jsonargparse 4.49 gave it another name
    instantiate = parser.instantiate if hasattr(parser, "instantiate") else parser.instantiate_classes
    data = instantiate(Namespace(data=config.data.clone())).data
    if unnamed:
        given.num_classes = getattr(data, "num_classes", None)
        if "classes" in given and given.num_classes is not None:
            given.classes = list(data.classes)
    if "task" in given and given.task is None:
        given.task = getattr(data, "task", None)


def score_seed_folders(trainer: Trainer, datamodule: Any, detection: bool = False) -> dict[str, dict[str, Any]]:
    """Score the folder of every SeedWriter, print the table and write it as `scores.json` into each folder.

    Args:
        trainer: After `predict`.
        datamodule: Its `predict_dataset` tells classes and true masks; without one nothing is scored.
        detection: Also score the masks' regions as detections.

    Returns:
        Scores by folder name.
    """
    dataset = getattr(datamodule, "predict_dataset", None)
    folders = {str(c.folder): c.folder for c in trainer.callbacks if isinstance(c, SeedWriter)}  # type: ignore[attr-defined]
    trainer.strategy.barrier("seeds")  # the other processes' seeds are in the folders, too
    if dataset is None or not folders or not trainer.is_global_zero:
        return {}
    scores = {}
    for folder in folders.values():
        try:
            scores[folder.name] = score_folder(folder, dataset, detection=detection, progress=True)
        except ValueError as error:
            print(f"{folder}: not scored: {error}")
            continue
        write_scores(folder / "scores.json", scores[folder.name])
    if scores:
        print(score_table(scores))
    for name, found in scores.items():
        if found["without_mask"]:
            print(f"{name}: {found['without_mask']} of {len(dataset.ids)} images have no true mask and are not scored")
    return scores


def next_run(parent: Path) -> Path:
    """A folder `parent/<n>` that does not exist yet: a run never writes into another's results."""
    taken = [int(p.name) for p in parent.glob("*") if p.name.isdecimal()]
    run = parent / str(max(taken, default=0) + 1)
    run.mkdir(parents=True)
    return run


def quick_start(overrides: Sequence[str] = ()) -> None:
    """Fit a small CNN on the embedded shapes, watch it, write seeds by hedging and by Grad-CAM, and score both.

    Args:
        overrides: Further options of `fit`.
    """
    with quiet(), as_notes():
        _quick_start(next_run(Path("runs") / "shapes"), overrides)


def _quick_start(run: Path, overrides: Sequence[str]) -> None:
    config = str(HERE / "configs" / "shapes.yaml")
    plain = "--trainer.enable_model_summary=false"
    cli = CommandLine(["fit", "--config", config, plain, *_inside(run), *overrides])
    val_map = float(cli.trainer.callback_metrics["val/map"])
    writers = [SeedWriter(str(run / "seeds" / name), options) for name, options in QUICK_METHODS.items()]
    for writer in writers:
        writer.take_all_cores()
    trainer = cli.trainer
    trainer.callbacks.extend(writers)  # type: ignore[attr-defined]
    trainer.predict(cli.model, datamodule=cli.datamodule, return_predictions=False)
    print(f"\nclassifier: mAP {val_map:.3f} on the validation scenes")
    score_seed_folders(trainer, cli.datamodule, detection=True)
    sheets = sorted((run / "hedge").glob("epoch_*/sheet.*"))
    print(f"pictures: {run / 'hedge'}, one folder per epoch")
    print(f"masks:    {run / 'seeds'}")
    print(f"W&B run:  {run / 'wandb'}  (offline; `wandb sync` uploads it, `wandb leet` shows it here)")
    print(f"next:     uv run train.py fit --config configs/segment_shapes.yaml --data.masks {run / 'seeds' / 'hedge'}")
    if sheets:
        print(f"look at this first: {sheets[-1]}\n  (what the network sees for and against each class, image by image)")


def _inside(run: Path) -> list[str]:
    return ["--trainer.default_root_dir", str(run), "--trainer.logger.save_dir", str(run)]


def main() -> None:
    """The command line; without an argument, the quick start."""
    if len(sys.argv) == 1:
        quick_start()
        return
    with quiet(), as_notes():
        CommandLine()


if __name__ == "__main__":
    main()
