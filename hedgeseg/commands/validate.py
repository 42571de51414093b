"""`hedgeseg validate`: whether a folder of seeds or masks is fit to train on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hedgeseg.commands.classes import class_names

EPILOG = """
examples:
  hedgeseg validate seeds --images DIR/images --classes voc
  hedgeseg validate masks --format png
"""


def add(commands: Any) -> None:
    """Declare the subcommand."""
    from hedgeseg.seeds.convert import FORMATS

    parser = commands.add_parser(
        "validate",
        help="look for what breaks training on a folder of seeds or masks",
        description="Sizes, labels, palettes, names, unreadable and missing files. Exit code 1 if something is wrong.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="seeds or masks")
    parser.add_argument("--format", default="npz", choices=FORMATS, help="of the files (default: %(default)s)")
    parser.add_argument("--images", type=Path, help="folder of the photographs: names and sizes must be theirs")
    parser.add_argument(
        "--classes",
        help="names: voc, a file with one per line, or a,b,c (default: the folder's own); labels above are wrong",
    )
    parser.add_argument("--allow-pickle", action="store_true", help="open pickles: only if you trust the files")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print one line per problem; 1 if there are any."""
    from hedgeseg.seeds.manifest import class_names_of
    from hedgeseg.seeds.validate import validate

    classes = class_names(arguments.classes) if arguments.classes else class_names_of(arguments.folder)
    problems = validate(
        arguments.folder,
        arguments.format,
        sizes=_sizes(arguments),
        num_classes=len(classes) or None,
        allow_pickle=arguments.allow_pickle,
    )
    for problem in problems:
        print(f"{problem.identifier}: {problem.kind}: {problem.message}")
    print(f"{len(problems)} problems" if problems else f"{arguments.folder}: nothing wrong")
    return 1 if problems else 0


def _sizes(arguments: argparse.Namespace) -> dict[str, tuple[int, int]] | None:
    """(height, width) of every photograph by the id that its seed has."""
    from hedgeseg.commands.labelled_folder import LabelledFolder
    from hedgeseg.seeds.convert import FORMATS
    from hedgeseg.seeds.formats import identifiers

    if arguments.images is None:
        return None
    named = identifiers(arguments.folder, FORMATS[arguments.format].suffix)
    return LabelledFolder((), images=arguments.images, named=named).sizes()
