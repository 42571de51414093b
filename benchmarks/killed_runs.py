"""Seeds of 1,000 images, killed five times at random moments and resumed: are they those of an uninterrupted run?

    uv run benchmarks/killed_runs.py --images 1000 --kills 5 --out runs/killed

Everything runs as a person runs it: `train.py predict` in a process of its own, SIGKILL, the same command again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from killing import compared, run

ROOT = Path(__file__).resolve().parents[1]


def command(a: argparse.Namespace, folder: Path) -> list[str]:
    """Seeds of tiny scenes by a small network."""
    return [
        sys.executable, str(ROOT / "train.py"), "predict", "--config", str(ROOT / "configs" / "shapes.yaml"),
        f"--data.num_predict={a.images}", "--data.image_size=48", "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false", "--trainer.logger=false", f"--trainer.default_root_dir={a.out}",
        "--trainer.callbacks=hedgeseg.callbacks.SeedWriter", f"--trainer.callbacks.init_args.folder={folder}",
        "--trainer.callbacks.init_args.generator={flip: true}",
    ]  # fmt: skip


def seeds(folder: Path) -> int:
    """Masks in the folder."""
    return len(list(folder.glob("*.png")))


def killed_at(folder: Path, count: int) -> Callable[[float], bool]:
    """Whether the folder holds so many masks; then a random moment passes."""

    def enough(lived: float) -> bool:
        if seeds(folder) < count:
            return False
        time.sleep(random.random() * 0.3)
        return True

    return enough


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, hidden ones included; the scores' file repeats the folder's name and is left out."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "scores.json"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main() -> None:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/killed"))
    a = parser.parse_args()
    a.out = a.out.resolve()
    a.out.mkdir(parents=True)
    os.environ["WANDB_MODE"] = "disabled"
    log, killed, whole = a.out / "log.txt", command(a, a.out / "killed"), command(a, a.out / "whole")
    moments = sorted(random.sample(range(1, a.images - a.images // 20), a.kills))
    for moment in moments:
        run(killed, log, killed_at(a.out / "killed", moment), a.out)
        print(f"killed with {seeds(a.out / 'killed')} of {a.images} masks written", flush=True)
    print(f"resumed: {run(killed, log, cwd=a.out):.0f} s")
    print(f"uninterrupted: {run(whole, log, cwd=a.out):.0f} s")
    sys.exit(compared(digests(a.out / "killed"), digests(a.out / "whole"), "files"))


if __name__ == "__main__":
    main()
