"""How well maps find objects in small networks with attention that were trained here: tables and plots per network.

    uv run benchmarks/methods_on_transformers.py vit swin --out runs/transformers
    uv run benchmarks/methods_on_transformers.py hybrid --animals DIR --weights DIR --out runs/transformers

The networks are those of `small_transformers.py`, trained if they are not in `--out` yet. Explained are the labelled
classes that cover more than 1 % of an image. Methods that a network's attention is not made for (rollouts, for windows)
say so. Everything is kept per image: a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from small_transformers import SIZES, animals, trained
from tqdm import tqdm

from hedgeseg.data.dataset import LabelledImages
from hedgeseg.data.shapes import Shapes
from hedgeseg.data.transforms import eval_transform
from hedgeseg.evaluation import Annotations, Case, Evaluator, MethodRun, Protocol, make_case, write_report

METHODS = (
    "hedge", "hedge gamma=2.0", "grad_cam", "gradient_rollout", "attention_rollout", "lrp_epsilon",
    "lrp_epsilon attention=attnlrp", "deep_taylor", "full_grad", "center", "random",
)  # fmt: skip
PROTOCOL = Protocol(
    metrics=("pointing_game", "pixel_average_precision", "seed_curve", "class_discrimination"),
    smallest=0.01,
    tolerance=2,
)


def case_of(dataset: LabelledImages, i: int, turn: int) -> Case:
    """An image with its mask."""
    sample = dataset[i]
    labels = sample["label"].nonzero().flatten().tolist()
    mask = sample["mask"]
    size = (mask.shape[0], mask.shape[1])
    return make_case(sample["id"], sample["image"], labels, Annotations(size, mask), PROTOCOL, turn=turn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(SIZES), choices=[*SIZES, []])
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--images", type=int, default=200, help="so many images of the validation set")
    parser.add_argument("--animals", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/transformers"))
    a = parser.parse_args()
    for name in a.networks:
        network = trained(name, a.out, a.animals, a.weights)
        if name == "hybrid":
            dataset: LabelledImages = animals(a.animals, "val")
        else:
            dataset = Shapes(a.images, "val", image_size=SIZES[name], transform=eval_transform(SIZES[name]))
        runs = [MethodRun.parse(text) for text in a.methods]
        evaluator = Evaluator(a.out / name, runs, PROTOCOL, dataset.classes)
        for run in runs:
            for i in tqdm(range(min(a.images, len(dataset))), desc=f"{name}: {run.label}"):
                if dataset.ids[i] not in evaluator.done(run) and run.label not in evaluator.failures:
                    evaluator.add(network, [case_of(dataset, i, i)], [run])
        for label, reason in evaluator.failures.items():
            print(f"{label}: {reason}")
        print(f"{name}\n\n{write_report(a.out / name)}")


if __name__ == "__main__":
    main()
