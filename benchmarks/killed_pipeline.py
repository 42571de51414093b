"""A pipeline over real pictures, killed at random moments and resumed: are its files those of an uninterrupted run?

    uv run benchmarks/killed_pipeline.py TILES/images --background free --masks TILES/masks --pictures 6 \
        --arch timm/tf_efficientnet_lite0 --weights FILE --out runs/killed_pipeline

Everything runs as a person runs it: `hedgeseg pipeline` in a process of its own, SIGKILL, the same command again. The
moments are drawn over the time that the uninterrupted run took. Compared are the bytes of all masks and scores, the
tensors of all weights, and the result without its times.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

import torch
from killing import compared, run

STAGES = ("classifier", "segmenter")


def taken(a: argparse.Namespace) -> Path:
    """A folder with links to some pictures of every class."""
    root = a.out / "images"
    for folder in sorted(path for path in a.root.iterdir() if path.is_dir()):
        (root / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[: a.pictures]:
            (root / folder.name / path.name).symlink_to(path.resolve())
    return root


def command(a: argparse.Namespace, root: Path, out: Path) -> list[str]:
    """What a person would type."""
    told = {
        "--background": a.background,
        "--masks": a.masks,
        "--arch": a.arch,
        "--weights": a.weights,
        "--epochs": a.epochs,
        "--image-size": a.image_size,
        "--config": a.config,
    }
    options = [text for key, value in told.items() if value is not None for text in (key, str(value))]
    return [sys.executable, "-m", "hedgeseg.cli", "pipeline", str(root), "--out", str(out), *options]


def contents(out: Path) -> dict[str, Any]:
    """Bytes of masks and scores, tensors of weights, the result without its times."""
    found: dict[str, Any] = {
        str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.suffix in (".png", ".npz")
    }
    result = json.loads((out / "pipeline.json").read_text(encoding="utf-8"))
    del result["seconds"]
    found["pipeline.json"] = result
    for stage in STAGES:
        state = torch.load(out / stage / "weights.ckpt", map_location="cpu", weights_only=True)["state_dict"]
        found.update({f"{stage} {name}": value.numpy().tobytes() for name, value in state.items()})
    return found


def main() -> None:
    """Run, kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--background")
    parser.add_argument("--masks", type=Path)
    parser.add_argument("--pictures", type=int, default=6, help="of each class")
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--weights")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--image-size", type=int, default=129)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/killed_pipeline"))
    a = parser.parse_args()
    a.out = a.out.resolve()
    a.out.mkdir(parents=True)
    root = taken(a)
    log, killed = a.out / "log.txt", command(a, root, a.out / "killed")
    whole = run(command(a, root, a.out / "whole"), log)
    print(f"uninterrupted: {whole:.0f} s", flush=True)
    for moment in sorted(random.random() for _ in range(a.kills)):
        run(killed, log, lambda lived, until=moment * whole: lived > until)
        done = [path.parent.name for path in (a.out / "killed").glob("*/stage.json")]
        print(f"killed after {moment * whole:.0f} s, stages begun: {', '.join(sorted(done)) or 'none'}", flush=True)
    run(killed, log)
    sys.exit(compared(contents(a.out / "killed"), contents(a.out / "whole"), "files, weights and results"))


if __name__ == "__main__":
    main()
