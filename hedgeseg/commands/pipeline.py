"""`hedgeseg pipeline`: from images with labels to a segmentation network and its masks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hedgeseg.quiet import as_notes

EPILOG = """
examples:
  hedgeseg pipeline DIR/images --out runs/tiles --background free
  hedgeseg pipeline DIR --out runs/defects --csv labels.csv --arch timm/tf_efficientnet_lite0 --weights FILE
  hedgeseg pipeline DIR --out runs/voc --config configs/segment_voc2012.yaml --masks --compare
  hedgeseg pipeline DIR/images --out runs/tiles --background free --stage segmenter --stage masks
"""


def add(commands: Any) -> None:
    """Declare the subcommand."""
    parser = commands.add_parser(
        "pipeline",
        help="train a segmentation network from labels: classifier, seeds, masks, network, its masks",
        description="Learn the labels, look at what the classifier looks at, make masks of it, learn to segment from\n"
        "these, and write the masks of all pictures. Give the same command again after it was stopped:\n"
        "what is done is skipped. OUT/pipeline.json and OUT/report.html hold what came of it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="ROOT/<class>/<image>, or what the configuration names")
    parser.add_argument("--out", type=Path, required=True, help="folder of everything that is written")
    parser.add_argument("--background", metavar="NAME", help="class folder of pictures without anything to find")
    parser.add_argument("--csv", metavar="FILE", help="table of labels inside ROOT, for pictures in ROOT/images")
    parser.add_argument("--config", type=Path, help="settings, such as configs/segment_folder.yaml")
    parser.add_argument("--arch", help="of both networks: torchvision's name, timm/<name>, or a segmentation network's")
    parser.add_argument("--weights", help="that the classifier starts from: DEFAULT, a file, or none")
    parser.add_argument("--epochs", type=int, help="of both trainings")
    parser.add_argument("--image-size", type=int, help="pixels of a side, for all stages")
    parser.add_argument(
        "--masks",
        nargs="?",
        const="",
        metavar="DIR",
        help="score all stages on true masks: in DIR, or without DIR those that the data come with",
    )
    parser.add_argument("--compare", action="store_true", help="also train the network on the true masks")
    parser.add_argument("--stage", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, help="of everything random")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default: %(default)s)")
    parser.add_argument("--wandb", action="store_true", help="log both trainings to Weights & Biases, offline")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run what is not done, print the table and say where the report is."""
    from hedgeseg.data.negatives import BackgroundQuestionError
    from hedgeseg.pipeline.start import start
    from hedgeseg.pipeline.table import result_table

    with as_notes():
        try:
            found = start(
                arguments.root,
                arguments.out,
                background=_names(arguments.background),
                csv=arguments.csv,
                config=arguments.config,
                arch=arguments.arch,
                weights=arguments.weights,
                epochs=arguments.epochs,
                image_size=arguments.image_size,
                masks=arguments.masks,
                compare=arguments.compare,
                stages=arguments.stage,
                seed=arguments.seed,
                accelerator=arguments.device,
                wandb=arguments.wandb,
            )
        except BackgroundQuestionError as error:
            raise error.answered_by("--background") from None
    print(f"\n{result_table(found)}\n")
    print(f"numbers: {arguments.out / 'pipeline.json'}\nreport:  {arguments.out / 'report.html'}")
    return 0


def _names(text: str | None) -> str | list[str] | None:
    """One name, or several as `--data.background` takes them: `["good", "empty"]`."""
    if text is None or not text.startswith("["):
        return text
    import yaml  # type: ignore[import-untyped]

    return [str(name) for name in yaml.safe_load(text)]
