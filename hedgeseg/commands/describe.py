"""`hedgeseg describe`: what is in a data set, as counts and as a contact sheet."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hedgeseg.commands.errors import UsageError

EPILOG = """
examples:
  hedgeseg describe --config configs/voc2012.yaml --data.root DIR
  hedgeseg describe --data FolderDataModule --data.root DIR --data.csv labels.csv --data.task multilabel
  hedgeseg describe --config configs/pet.yaml --data.root DIR --split train --transformed
"""
SPLITS = ("train", "val", "predict")


def add(commands: Any) -> None:
    """Declare the subcommand."""
    parser = commands.add_parser(
        "describe",
        help="count what is in a data set and draw a contact sheet of it",
        description="Count images, labels, boxes and mask pixels of the data that a configuration\nnames, and draw a "
        "contact sheet with masks and boxes.\nOptions of the data module follow as --data.NAME VALUE.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, help="a configuration of train.py; only its data are read")
    parser.add_argument("--data", metavar="CLASS", help="a data module, such as VocDataModule, instead or over it")
    parser.add_argument("--split", action="append", choices=SPLITS, help="may be repeated (default: all there are)")
    parser.add_argument("--limit", type=int, default=500, help="images and masks to read (default: %(default)s)")
    parser.add_argument("--transformed", action="store_true", help="draw images as the network gets them, augmented")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("describe"),
        help="folder of the sheets, one PNG per split (default: %(default)s)",
    )
    parser.set_defaults(run=run, further="data")


def run(arguments: argparse.Namespace) -> int:
    """Print the counts of each split and write its sheet."""
    from PIL import Image

    from hedgeseg.data.describe import describe
    from hedgeseg.data.sheet import sample_sheet

    module = data_module(arguments.config, arguments.data, arguments.rest)
    module.prepare_data()
    module.setup("validate")  # to look, no need that something can be learnt
    datasets = {split: getattr(module, f"{split}_dataset", None) for split in arguments.split or SPLITS}
    missing = [split for split, dataset in datasets.items() if dataset is None]
    if arguments.split and missing:
        raise UsageError(f"--split {missing[0]}: this data module has no such split")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for split, dataset in datasets.items():
        if dataset is None:
            continue
        print(describe(dataset, f"{type(module).__name__}, {split}", arguments.limit))
        sheet = sample_sheet(dataset, transformed=arguments.transformed, mean=module.mean, std=module.std)
        path = arguments.out / f"{split}.png"
        Image.fromarray(sheet).save(path)
        print(f"sheet: {path}\n")
    return 0


def data_module(config: Path | None, name: str | None, options: Sequence[str]) -> Any:
    """The data module of a configuration, with options as train.py takes them.

    Args:
        config: YAML file with a `data` entry.
        name: class of the data module, over or instead of the configuration.
        options: such as `--data.root`, `DIR`.

    Raises:
        UsageError: neither is given, the file has no data, or an option does not fit the data module.
        FileNotFoundError: there is no such file.
    """
    import yaml  # type: ignore[import-untyped]
    from jsonargparse import ArgumentError, ArgumentParser

    from hedgeseg.data import ImageDataModule

    given = []
    if config is not None:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or "data" not in content:
            raise UsageError(f"--config {config}: there is no `data` in it")
        given.append(f"--data={yaml.safe_dump(content['data'], default_flow_style=True, width=float('inf'))}")
    if name is not None:
        given.append(f"--data={name}")
    if not given:
        raise UsageError("give --config FILE or --data CLASS")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ImageDataModule, "data", required=True)
    try:
        # jsonargparse 4.49 gave it another name
        instantiate = parser.instantiate if hasattr(parser, "instantiate") else parser.instantiate_classes
        return instantiate(parser.parse_args([*given, *options])).data
    except ArgumentError as error:
        raise UsageError(str(error)) from error
