"""`hedgeseg audit`: what a trained network bases its decisions on, over all of its data."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hedgeseg.commands.errors import UsageError
from hedgeseg.quiet import as_notes

EPILOG = """
examples:
  hedgeseg audit --config configs/folder.yaml --checkpoint runs/folder/checkpoints/best.ckpt --out audit --data.root DIR
  hedgeseg audit --config C --checkpoint NEW.ckpt --out audit_new --against audit_old
"""


def add(commands: Any) -> None:
    """Declare the subcommand."""
    parser = commands.add_parser(
        "audit",
        help="look at the evidence of all images for what stands out",
        description="Explains every image, groups explanations that rest on the same thing, and names groups and\n"
        "images that stand out: OUT/audit.html to look at, OUT/audit.json to work with. An audit that\n"
        "was stopped goes on. Options of the data are given as --data.NAME, as to train.py.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, help="the configuration that the network was trained by")
    parser.add_argument("--checkpoint", type=Path, required=True, help="that the training wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of the audit")
    parser.add_argument("--against", type=Path, help="folder of another audit of the same data: what has moved since?")
    parser.add_argument(
        "--splits", default="train,val", help="which of the data, of train and val (default: %(default)s)"
    )
    parser.add_argument("--method", default="hedge", help="attribution method (default: %(default)s)")
    parser.add_argument("--predicted", action="store_true", help="explain what is predicted, not what is labelled")
    parser.add_argument("--no-mirror", action="store_true", help="do not explain the mirrored images: half the time")
    parser.add_argument("--no-removal", action="store_true", help="do not paint evidence over")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default: %(default)s)")
    parser.set_defaults(run=run, further="data")


def run(arguments: argparse.Namespace) -> int:
    """Audit, and print what stands out."""
    import yaml  # type: ignore[import-untyped]

    from hedgeseg.commands.describe import data_module
    from hedgeseg.pipeline.auditing import audit, configured_model

    splits = [part.strip() for part in arguments.splits.split(",") if part.strip()]
    if not splits or set(splits) - {"train", "val"}:
        raise UsageError(f"--splits {arguments.splits!r}: give train, val or train,val")
    content = yaml.safe_load(arguments.config.read_text(encoding="utf-8"))
    data = data_module(arguments.config, None, arguments.rest)
    with as_notes():
        module = configured_model(content.get("model"), data.num_classes, arguments.checkpoint)
        findings = audit(
            module,
            data,
            str(arguments.out),
            splits,
            arguments.device,
            method=arguments.method,
            target="predicted" if arguments.predicted else "label",
            mirror=not arguments.no_mirror,
            removal=not arguments.no_removal,
            against=None if arguments.against is None else str(arguments.against),
        )
    if findings is None:
        print("there was nothing to explain: no image has a class")
        return 1
    flagged = [cluster for cluster in findings.clusters if cluster.flagged]
    for cluster in flagged:
        name = data.classes[cluster.class_index]
        print(f"{name}, {len(cluster.members)} images stand out: {'; '.join(cluster.reasons)}")
    print(f"{len(findings.evidence)} explanations, {len(flagged)} clusters stand out: {arguments.out / 'audit.html'}")
    return 0
