"""`hedgeseg score`: folders of seeds against true masks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hedgeseg.commands.labelled_folder import add_folders, labelled_folder, print_assumed

EPILOG = """
examples:
  hedgeseg score runs/coco_voc/seeds --masks DIR/masks --per-class
  hedgeseg score seeds/hedge seeds/grad_cam --masks DIR/masks --mask-values 255=crack
"""


def add(commands: Any) -> None:
    """Declare the subcommand."""
    parser = commands.add_parser(
        "score",
        help="score folders of seeds against true masks",
        description="Mean IoU of the masks and at the best background, precision, recall, AP; as a table to compare.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("seeds", type=Path, nargs="+", help="folders that hedgeseg wrote seeds to")
    add_folders(parser, images=False)
    parser.add_argument("--per-class", action="store_true", help="also a table of classes for each folder")
    parser.add_argument(
        "--unsure", default="background", choices=("background", "drop", "miss"), help="what a predicted 255 counts as"
    )
    parser.add_argument("--detection", action="store_true", help="also the regions' mAP, as boxes and as masks")
    # mAP was computed unless this was given
    parser.add_argument("--no-detection", dest="detection", action="store_false", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="also write scores.json, scores.csv and scores.md into this folder")
    parser.add_argument("--json", type=Path, help="also write all numbers to this file")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Score, print, and write the numbers."""
    from hedgeseg.seeds.score import score_folder
    from hedgeseg.seeds.table import class_table, score_table, write_scores, write_tables

    truth = labelled_folder(arguments, arguments.seeds)
    scores = {
        str(folder): score_folder(folder, truth, unsure=arguments.unsure, detection=arguments.detection, progress=True)
        for folder in arguments.seeds
    }
    print(score_table(scores))
    print_assumed(truth)
    for name, found in scores.items():
        if found["without_mask"]:
            print(f"{name}: {found['without_mask']} of {len(truth.ids)} images have no true mask and are not scored")
        if found["without_seed"]:
            print(f"{name}: {found['without_seed']} of {len(truth.ids)} images have a mask but no seed")
        if arguments.per_class:
            print(f"\n{name}\n{class_table(found)}")
    if arguments.json:
        write_scores(arguments.json, scores)
    if arguments.out:
        write_tables(arguments.out, scores)
        print(f"\ntables: {arguments.out}")
    return 0
