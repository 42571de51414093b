"""`hedgeseg segment`: masks of new pictures by a trained segmentation network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hedgeseg.commands.errors import UsageError
from hedgeseg.quiet import as_notes

EPILOG = """
examples:
  hedgeseg segment DIR/images --checkpoint runs/pipeline/segmenter/weights.ckpt --out masks
  hedgeseg segment a.jpg b.jpg --checkpoint weights.ckpt --out masks --scales 0.75,1 --refine pamr
"""


def add(commands: Any) -> None:
    """Declare the subcommand."""
    parser = commands.add_parser(
        "segment",
        help="write masks of new pictures with a trained segmentation network",
        description="One palette PNG per picture, at its own size: 0 background, class + 1. A folder that was stopped\n"
        "goes on where it was; the checkpoint tells classes, size and normalisation.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", type=Path, nargs="+", help="folders of pictures, and files")
    parser.add_argument("--checkpoint", type=Path, required=True, help="of hedgeseg's Segmenter")
    parser.add_argument("--out", type=Path, required=True, help="folder of the masks")
    parser.add_argument(
        "--scales", default="1", help="sizes to look at, as factors: 0.75,1,1.25 (default: %(default)s)"
    )
    parser.add_argument("--no-flip", action="store_true", help="do not look at the mirror image as well")
    parser.add_argument("--refine", help="crf, pamr, guided, ...: follow the edges of the picture")
    parser.add_argument("--refine-side", type=int, default=512, help="longest side it works at (default: %(default)s)")
    parser.add_argument("--ignore-below", type=float, default=0.0, help="write 255 where the network is less sure")
    parser.add_argument("--confidence", action="store_true", help="also write how sure each pixel is, as .npz")
    parser.add_argument("--shard", help="only part i of n, as in 0/4; several processes may fill one folder")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--num-workers", type=int, default=0, help="processes that read pictures")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default: %(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the masks; 1 if a picture failed."""
    from hedgeseg.pipeline.segmenting import segment_pictures

    with as_notes():
        counts = segment_pictures(
            arguments.images,
            arguments.checkpoint,
            arguments.out,
            generator={
                "scales": _scales(arguments.scales),
                "flip": not arguments.no_flip,
                "refine": arguments.refine,
                "refine_side": arguments.refine_side,
                "ignore_below": arguments.ignore_below,
            },
            confidence=arguments.confidence,
            shard=arguments.shard,
            batch_size=arguments.batch_size,
            num_workers=arguments.num_workers,
            accelerator=arguments.device,
        )
    print(", ".join(f"{count} {what}" for what, count in counts.items()) + f"; masks: {arguments.out}")
    return 1 if counts["failed"] else 0


def _scales(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--scales {text!r}: give factors such as 0.75,1,1.25") from error
