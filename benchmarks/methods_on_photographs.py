"""How well the maps of all methods find objects on photographs with masks: tables, plots and a picture per network.

    uv run benchmarks/methods_on_photographs.py --root DIR --weights DIR --out runs/methods

`--root` is a folder in COCO format (`images/`, `instances.json`, perhaps `masks/`), `--weights` one with
`mobilenet_v2.pth`, `squeezenet1_0.pth` and `voc_from_imagenet.json` (the ImageNet indices of each VOC class). Explained
are the labelled classes that cover more than 1 % of an image and are among the network's three most likely. Methods
that run the network hundreds of times are reduced: their options and the number of maps stand in the table.

Everything is kept per image: a run that was stopped, or is asked for further methods, does what is missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from hedgeseg.attribution import METHODS as METHODS_KNOWN
from hedgeseg.data.coco import CocoFolder
from hedgeseg.data.dataset import ImageSubset
from hedgeseg.data.transforms import eval_transform
from hedgeseg.evaluation import Annotations, Case, Evaluator, MethodRun, Protocol, make_case, select, write_report
from hedgeseg.models import Classifier
from hedgeseg.visual import Picture, contact_sheet, denormalise, outline, overlay

NETWORKS = {"mobilenet_v2": 225, "squeezenet1_0": 227}

METHODS = (
    "hedge",
    "hedge gamma=2.0",
    "grad_cam",
    "grad_cam_plus_plus",
    "relevance_cam",
    "full_grad",
    "gradient",
    "guided_backprop",
    "excitation_backprop",
    "contrastive_excitation_backprop",
    "deep_taylor",
    "lrp_epsilon",
    "lrp_alpha_beta",
    "contrastive_lrp",
    "softmax_gradient_lrp",
    "rap",
    "rsp",
    "agf",
    "center",
    "random",
    "deep_lift",
    "integrated_gradients n_steps=16 limit=12",
    "smooth_grad nt_samples=8 limit=12",
    "gradient_shap n_samples=8 limit=12",
    "occlusion limit=10",
    "rise masks=300 limit=8",
    "lime n_samples=100 limit=5",
    "score_cam limit=5",
    "extremal_perturbation areas=(0.05,0.1) iterations=60 limit=5",
)
GAMMAS = tuple(f"hedge gamma={gamma}" for gamma in (1.25, 1.5, 1.75))
# Table 2 of the paper, at its gamma: what is left when terms of Eq. 13 are taken out one by one.
ABLATIONS = tuple(f"hedge gamma=2.0 ablate={term}" for term in ("C", "A", "U", "Psi"))
SETS = {"methods": METHODS, "gamma": ("hedge", *GAMMAS, "hedge gamma=2.0"), "ablation": ABLATIONS}

PROTOCOL = Protocol(top=3, smallest=0.01, predicted_top=1)
SHOWN = 5
"""So many photographs are in the picture; every method sees at least these."""
PANEL = 150


class Drawings:
    """Keeps the maps of the first photographs that a method explains, for the picture."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, run: MethodRun, case: Case, maps: Tensor) -> None:
        """Keep the maps if they are among the first."""
        path = self.path(run, case.id)
        if path.is_file() or len(list(path.parent.glob("*.npz"))) < SHOWN:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(path, maps=maps.cpu().numpy(), classes=np.array(case.classes))

    def path(self, run: MethodRun, identifier: str) -> Path:
        """Where the maps of a photograph are."""
        return self.folder / run.key / f"{identifier}.npz"

    def maps(self, run: MethodRun, identifier: str, label: int) -> np.ndarray | None:
        """The map of one class of a photograph; None if it was not kept."""
        path = self.path(run, identifier)
        if not path.is_file():
            return None
        with np.load(path) as kept:
            found = kept["maps"][kept["classes"].tolist().index(label)]
        # RISE and its like are positive everywhere: what matters is where they are larger.
        return np.asarray(found if METHODS_KNOWN[run.method].signed else found - found.min())


def photograph(dataset: ImageSubset, i: int, turn: int = 0) -> Case:
    """A photograph with its annotations, at the network's size and at its own."""
    sample = dataset[i]
    mask, own = sample["mask"], torch.from_numpy(np.asarray(dataset.mask(i))).long()
    return make_case(
        sample["id"],
        sample["image"],
        sample["label"].nonzero().flatten().tolist(),
        Annotations((mask.shape[0], mask.shape[1]), mask),
        PROTOCOL,
        Annotations((own.shape[0], own.shape[1]), own),
        turn=turn,
    )


def explained(network: Classifier, dataset: ImageSubset) -> list[tuple[int, tuple[int, ...]]]:
    """The photographs with a class to explain and these classes; those with several first, where maps must differ."""
    found = []
    for i in tqdm(range(len(dataset)), desc="which classes does the network see"):
        case = photograph(dataset, i)
        with torch.no_grad():
            chosen = select(case, network(case.image[None])[0], PROTOCOL)
        if chosen is not None:
            found.append((i, chosen.classes))
    return sorted(found, key=lambda entry: -len(entry[1]))


def picture(
    title: str,
    dataset: ImageSubset,
    shown: Sequence[tuple[int, tuple[int, ...]]],
    runs: Sequence[MethodRun],
    drawings: Drawings,
) -> Picture:
    """One row per explained class of a photograph, one column per method."""
    rows, captions = [], []
    for i, classes in shown:
        sample = dataset[i]
        pixels = denormalise(sample["image"])
        for label in classes:
            truth = outline(pixels, (sample["mask"] == label + 1).numpy(), width=3)
            small = np.asarray(Image.fromarray(truth).resize((PANEL, PANEL), Image.Resampling.LANCZOS))
            maps = [drawings.maps(run, dataset.ids[i], label) for run in runs]
            rows.append([small, *(np.full_like(pixels, 255) if m is None else overlay(pixels, m) for m in maps)])
            captions.append(f"{dataset.classes[label]} (outlined; {dataset.ids[i]})")
    return contact_sheet(rows, ["photograph", *(run.label for run in runs)], captions, title)


def main() -> None:
    """Explain, score, and write tables and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, type=Path)
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--set", nargs="+", default=["methods"], choices=SETS, help="which methods (default: all)")
    parser.add_argument("--methods", nargs="+", help="these instead, each one word group such as 'hedge gamma=2.0'")
    parser.add_argument("--limit", type=int, help="stop after so many photographs with an explained class")
    parser.add_argument("--out", type=Path, default=Path("runs/methods"))
    a = parser.parse_args()
    texts = a.methods or list(dict.fromkeys(text for name in a.set for text in SETS[name]))
    source = CocoFolder(a.root)
    for arch in a.networks:
        dataset = ImageSubset(source, range(len(source)), eval_transform(NETWORKS[arch], fit="squash"))
        network = Classifier(
            len(source.classes), arch, str(a.weights / f"{arch}.pth"), groups=str(a.weights / "voc_from_imagenet.json")
        ).eval()
        evaluate(arch, network, dataset, [MethodRun.parse(text) for text in texts], a.out / arch, a.limit)


def evaluate(
    arch: str, network: Classifier, dataset: ImageSubset, runs: list[MethodRun], folder: Path, limit: int | None
) -> None:
    """One network: results, report and picture in a folder of its own."""
    drawings = Drawings(folder / "maps")
    evaluator = Evaluator(folder, runs, PROTOCOL, dataset.classes, watch=drawings)
    order = explained(network, dataset)[:limit]
    # Method by method, so that a table is complete as far as it goes.
    for run in runs:
        for turn, (i, _) in enumerate(tqdm(order[: run.limit], desc=f"{arch}: {run.label}")):
            if dataset.ids[i] not in evaluator.done(run):
                evaluator.add(network, [photograph(dataset, i, turn)], [run])
    for label, reason in evaluator.failures.items():
        print(f"{label}: {reason}")
    print(f"{arch}, {NETWORKS[arch]} px, {len(order)} photographs\n\n{write_report(folder)}")
    Image.fromarray(picture(arch, dataset, order[:SHOWN], runs, drawings)).save(folder / "picture.png")
    print(f"tables, plots and picture: {folder}")


if __name__ == "__main__":
    main()
