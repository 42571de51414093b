"""`hedgeseg describe`: what a folder would be taken for, and what is in a data set, as counts and as a sheet."""

from __future__ import annotations

import argparse
import shlex
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hedgeseg.commands.errors import UsageError

EPILOG = """
examples:
  hedgeseg describe ROOT
  hedgeseg describe --config configs/voc2012.yaml --data.root DIR
  hedgeseg describe --data FolderDataModule --data.root DIR --data.csv labels.csv --data.task multilabel
  hedgeseg describe --config configs/pet.yaml --data.root DIR --split train --transformed
"""
SPLITS = ("train", "val", "predict")
FEW = 10
"""Images of a class below which little can be learnt of it."""


def add(commands: Any) -> None:
    """Declare the subcommand."""
    parser = commands.add_parser(
        "describe",
        help="count what is in a data set and draw a contact sheet of it",
        description="Count images, labels, boxes and mask pixels of a folder, or of the data that a configuration\n"
        "names, and draw a contact sheet with masks and boxes. Of a folder alone it is said what it is taken for,\nand "
        "what to type to go on. Options of the data module follow as --data.NAME VALUE.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", type=Path, nargs="?", help="a folder of which nothing else is said")
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
    """Describe a folder, or what a configuration or a data module reads."""
    if arguments.root is not None:
        if arguments.config is not None or arguments.data is not None:
            raise UsageError("give a folder alone, or --config or --data with --data.root")
        return _folder(arguments)
    module = data_module(arguments.config, arguments.data, arguments.rest)
    module.prepare_data()
    module.setup("validate")  # to look, no need that something can be learnt
    _print_splits(module, arguments)
    return 0


def _folder(arguments: argparse.Namespace) -> int:
    """What a folder is taken for, its counts, what is noticed, and the command to go on with."""
    from hedgeseg.data.layouts import recognise
    from hedgeseg.data.negatives import as_option
    from hedgeseg.data.teachable import check_teachable

    layout, *others = recognise(arguments.root)
    print(f"{arguments.root}: {layout.words}, read by {layout.module} with root {layout.root}")
    options = [*layout.arguments(), *arguments.rest]
    if layout.question is not None and not any(word.startswith("--data.background") for word in arguments.rest):
        print(f"\n{layout.question}\nBelow it is taken for nothing to find.\n")
        names = as_option(layout.question.names)
        options += ["--data.background", shlex.split(names)[0]]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        module = data_module(None, layout.module, options)
        module.prepare_data()
        module.setup("validate")
        _print_splits(module, arguments)
        learnt, rest = module.train_dataset, module.val_dataset
        if learnt is not None and layout.module in ("FolderDataModule", "CocoFolderDataModule"):
            labels = [[data.labels(i) for i in range(len(data))] for data in (learnt, rest)]
            try:
                check_teachable(module.classes, labels[0], labels[1], str(arguments.root))
            except ValueError as error:
                warnings.warn(str(error), stacklevel=1)
    said = dict.fromkeys([*layout.notes, *(str(one.message) for one in caught if one.category is UserWarning)])
    for note in [*said, *_remarks(module)]:
        print(f"note: {note}")
    for other in others:
        print(f"note: it may also be read as {other.words}: {other.commands()[0]}")
    print("\ngo on with")
    further = "".join(f" {shlex.quote(word)}" for word in arguments.rest)
    for command in layout.commands()[: 1 if further and "--data.background" in further else None]:
        print(f"  {command if 'background' not in further else command.split(' --data.background')[0]}{further}")
    if not further and layout.pipelines():
        print("or, all the way to masks and a segmentation network, with")
        print("\n".join(f"  {command}" for command in layout.pipelines()))
    return 0


def _remarks(module: Any) -> list[str]:
    """What its owner should know of the counts."""
    learnt, rest = module.train_dataset, module.val_dataset
    if learnt is None or rest is None:
        return []
    found = []
    counts = [Counter(label for i in range(len(data)) for label in data.labels(i)) for data in (learnt, rest)]
    few = [name for i, name in enumerate(module.classes) if 0 < counts[0][i] < FEW]
    if few:
        found.append(f"fewer than {FEW} images to learn from: {', '.join(few)}")
    unseen = [name for i, name in enumerate(module.classes) if counts[0][i] and not counts[1][i]]
    if unseen:
        found.append(f"no image to validate on: {', '.join(unseen)}")
    return found


def _print_splits(module: Any, arguments: argparse.Namespace) -> None:
    """Print the counts of each split and write its sheet."""
    from PIL import Image

    from hedgeseg.data.describe import describe
    from hedgeseg.data.sheet import sample_sheet

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
        raise UsageError("give a folder, or --config FILE or --data CLASS")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ImageDataModule, "data", required=True)
    try:
        # jsonargparse 4.49 gave it another name
        instantiate = parser.instantiate if hasattr(parser, "instantiate") else parser.instantiate_classes
        return instantiate(parser.parse_args([*given, *options])).data
    except ArgumentError as error:
        raise UsageError(str(error)) from error
