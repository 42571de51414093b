"""`hedgeseg convert`: seeds and masks from one tool's files to another's."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hedgeseg.commands.classes import class_names
from hedgeseg.commands.options import number_or_name

EPILOG = """
examples:
  hedgeseg convert seeds as_irn --from npz --to irn
  hedgeseg convert theirs seeds --from psa --to npz --background power --allow-pickle
  hedgeseg convert seeds seeds.json --from npz --to coco --images DIR/images
"""


def add(commands: Any) -> None:
    """Declare the subcommand."""
    from hedgeseg.seeds.convert import FORMATS

    formats = (*FORMATS, "coco")
    parser = commands.add_parser(
        "convert",
        help="convert seeds between the formats of tools",
        description=f"Convert a folder of seeds or masks. Formats: {', '.join(formats)}.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, help="folder to read, or the JSON file of coco")
    parser.add_argument("target", type=Path, help="folder to write, or the JSON file of coco")
    parser.add_argument(
        "--from", dest="source_format", required=True, choices=formats, metavar="FORMAT", help="what there is"
    )
    parser.add_argument(
        "--to", dest="target_format", required=True, choices=formats, metavar="FORMAT", help="what to write"
    )
    parser.add_argument(
        "--background",
        default="0.15",
        help="cuts masks from files of scores alone: a number, or power, band, otsu, ...",
    )
    parser.add_argument("--images", type=Path, help="folder of the photographs, whose file names coco is to hold")
    parser.add_argument(
        "--classes",
        help="names, needed to write coco: voc, a file with one per line, or a,b,c (default: the seeds' own)",
    )
    parser.add_argument(
        "--allow-pickle", action="store_true", help="open pickles, which can run code: only if you trust the files"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Convert, say how many, and name what failed; 1 if something did."""
    from hedgeseg.seeds.convert import convert

    report = convert(
        arguments.source,
        arguments.target,
        arguments.source_format,
        arguments.target_format,
        background=number_or_name(arguments.background),
        allow_pickle=arguments.allow_pickle,
        file_names=_file_names(arguments),
        classes=class_names(arguments.classes) if arguments.classes else _own_classes(arguments.source),
    )
    print(f"{report.done} converted to {arguments.target}, {len(report.failed)} failed")
    for name, reason in report.failed.items():
        print(f"{name}: {reason}", file=sys.stderr)
    return 1 if report.failed else 0


def _file_names(arguments: argparse.Namespace) -> dict[str, str]:
    from hedgeseg.commands.labelled_folder import LabelledFolder
    from hedgeseg.seeds.convert import FORMATS
    from hedgeseg.seeds.formats import identifiers

    if arguments.images is None:
        return {}
    named = identifiers(arguments.source, FORMATS[arguments.source_format].suffix)
    return LabelledFolder((), images=arguments.images, named=named).file_names()


def _own_classes(source: Path) -> tuple[str, ...]:
    from hedgeseg.seeds.manifest import class_names_of

    return class_names_of(source) if source.is_dir() else ()
