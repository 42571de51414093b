"""`hedgeseg report`: a folder of seeds at a glance, as one HTML file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hedgeseg.commands.labelled_folder import add_folders, labelled_folder, print_assumed

EPILOG = """
examples:
  hedgeseg report seeds --images DIR/images --masks DIR/masks --out seeds.html
  hedgeseg report seeds --images DIR/images --classes names.txt --worst 30
"""


def add(commands: Any) -> None:
    """Declare the subcommand."""
    parser = commands.add_parser(
        "report",
        help="write a report of a folder of seeds",
        description="One HTML file: scores if there are true masks, and the seeds that look most wrong.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("seeds", type=Path, help="a folder that hedgeseg wrote seeds to")
    add_folders(parser, images=True)
    parser.add_argument(
        "--out", type=Path, default=Path("report.html"), help="the file to write (default: %(default)s)"
    )
    parser.add_argument("--title", default="Seeds", help="heading of the page")
    parser.add_argument("--worst", type=int, default=12, help="how many suspicious images to show")
    parser.add_argument("--no-detection", action="store_true", help="leave out detection mAP, which takes longest")
    parser.add_argument("--no-crf", action="store_true", help="leave out what a CRF says of each mask")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the report and say where."""
    from hedgeseg.seeds.report import write_report

    truth = labelled_folder(arguments, [arguments.seeds])
    written = write_report(
        arguments.out,
        arguments.seeds,
        truth,
        title=arguments.title,
        worst=arguments.worst,
        detection=not arguments.no_detection,
        crf=not arguments.no_crf,
    )
    print(written)
    print_assumed(truth)
    return 0
