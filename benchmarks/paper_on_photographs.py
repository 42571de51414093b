"""The paper's tables on real photographs: five networks, VOC's and COCO's pictures, every method; one command.

    uv run benchmarks/paper_on_photographs.py --voc ANIMALS --coco DIR --weights WEIGHTS --tuned TUNED --out runs/paper

`--voc` is a VOC 2012 layout with masks, `--coco` a folder in COCO format with VOC's classes, `--weights` holds
ImageNet's weights of the three architectures and `voc_from_imagenet.json`, `--tuned` the checkpoints
`mobilenet_v2.ckpt` and `efficientnet_lite0.ckpt` of networks that learnt the labels of five animals on VOC's `train`.

Parts: `chief` (hedging, Grad-CAM and FullGrad on every picture), `main` (the methods of the paper's tables), `options`
(hedging's own, on the pictures of `train`), `more` (other quick methods and the paper's ablation, on fewer pictures),
`costly` (methods of hundreds of passes, on few), `network` (insertion and randomisation), `tables` (writes what is
known so far). Photographs come in a random order, drawn once, a few of every pair in turn; each one's numbers are on
disk at once, and a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from network_data_pairs import NETWORKS, PROTOCOL, Folders, Pair
from paper_tables import write_tables
from tqdm import tqdm

from hedgeseg.data.voc_classes import VOC_CLASSES
from hedgeseg.evaluation import Evaluator, MethodRun, Protocol
from hedgeseg.models.input_statistics import input_statistics

CHIEF = ("hedge", "grad_cam", "full_grad")
"""What is compared on every photograph."""
CORE = (
    "hedge",
    "hedge gamma=2.0",
    "hedge stages=coarse",
    "grad_cam",
    "relevance_cam",
    "full_grad",
    "rsp",
    "contrastive_excitation_backprop",
    "center",
)
MAIN = (
    "hedge",
    "hedge gamma=2.0",
    "hedge stages=coarse",
    "grad_cam",
    "grad_cam_plus_plus",
    "relevance_cam",
    "full_grad",
    "rsp",
    "agf",
    "excitation_backprop",
    "contrastive_excitation_backprop",
    "contrastive_lrp",
    "guided_backprop",
    "center",
    "random",
)
OPTIONS = (
    "hedge",
    "hedge gamma=2.0",
    "hedge residual=influence",
    "hedge stages=coarse",
    "hedge gamma=2.0 stages=coarse",
    "hedge residual=influence stages=coarse",
    "hedge stages=(8,16,32)",
    "hedge stages=(1,4,16)",
    "hedge stages=(1,2,4,8,16)",
    "grad_cam",
    "full_grad",
    "rsp",
)
MORE = (
    "rap",
    "deep_taylor",
    "lrp_alpha_beta",
    "lrp_epsilon",
    "softmax_gradient_lrp",
    "gradient",
    "deep_lift",
    *(f"hedge gamma={gamma}" for gamma in (1.25, 1.5, 1.75)),
    *(f"hedge gamma=2.0 ablate={term}" for term in ("C", "A", "U", "Psi")),
)
COSTLY = (
    "integrated_gradients n_steps=16",
    "smooth_grad nt_samples=8",
    "gradient_shap n_samples=8",
    "occlusion",
    "rise masks=300",
    "lime n_samples=100",
    "score_cam",
    "extremal_perturbation areas=(0.05,0.1) iterations=60",
)
ASKED = ("hedge", "hedge gamma=2.0", "hedge stages=coarse", "grad_cam", "full_grad", "rsp", "contrastive_lrp", "random")
ASKS = replace(
    PROTOCOL,
    metrics=("region_insertion", "insertion", "randomization_sanity"),
    top=3,
    canvas="mean",
    steps=10,
    randomized_images=30,
    randomized_layers=4,
)
"""The network's word is taken for classes that it sees only."""


@dataclass(frozen=True)
class Part:
    """Some methods on some photographs.

    Attributes:
        methods: as `MethodRun.parse` reads them.
        networks: keys of `NETWORKS`.
        sets: of photographs.
        images: at most so many of each pair.
        several: photographs of several classes alone.
        protocol: what is asked of the maps.
        folder: below that of the pair.
    """

    methods: Sequence[str]
    networks: Sequence[str]
    sets: Sequence[str]
    images: int
    several: bool = False
    protocol: Protocol = PROTOCOL
    folder: str = "maps"


OF_IMAGENET = tuple(name for name, network in NETWORKS.items() if not network.tuned)
PARTS = {
    "chief": [Part(CHIEF, tuple(NETWORKS), ["voc", "coco"], 1000, folder="chief")],
    "options": [Part(OPTIONS, OF_IMAGENET, ["voc_train"], 60)],
    "main": [
        Part(CORE, tuple(NETWORKS), ["voc", "coco"], 40),
        Part(CORE, tuple(NETWORKS), ["coco", "voc"], 100, several=True),
        Part(MAIN, tuple(NETWORKS), ["voc", "coco"], 40),
        Part(CORE, OF_IMAGENET, ["voc_train"], 100, several=True),
        Part(MAIN, tuple(NETWORKS), ["voc", "coco"], 1000),
    ],
    "more": [Part(MORE, tuple(NETWORKS), ["voc", "coco"], 20)],
    "costly": [Part(COSTLY, ["mobilenet_v2"], ["voc"], 8)],
    "network": [Part(ASKED, ["mobilenet_v2"], ["voc"], 120, protocol=ASKS, folder="network")],
}
ROUND = 10
"""Photographs of a pair before the next pair has its turn."""


def todo(part: Part, pairs: dict[tuple[str, str], Pair]) -> Iterator[tuple[Pair, list[tuple[int, int]]]]:
    """Pairs in turn, with the indices and turns of some of their photographs."""
    orders = {}
    for key in [(network, data) for network in part.networks for data in part.sets]:
        shown = [(index, turn, count) for turn, (index, _, count) in enumerate(pairs[key].order())]
        orders[key] = [(index, turn) for index, turn, count in shown if count > 1 or not part.several][: part.images]
    for start in range(0, max(len(order) for order in orders.values()), ROUND):
        for key, order in orders.items():
            if order[start : start + ROUND]:
                yield pairs[key], order[start : start + ROUND]


def run(part: Part, pairs: dict[tuple[str, str], Pair]) -> None:
    """Explain and score what is missing."""
    evaluators: dict[str, Evaluator] = {}
    runs = [MethodRun.parse(text) for text in part.methods]
    bar = tqdm(list(todo(part, pairs)), mininterval=5, unit="round")
    for pair, photographs in bar:
        bar.set_description(pair.name, refresh=False)
        if pair.name not in evaluators:
            statistics = input_statistics(NETWORKS[pair.network].arch)
            evaluators[pair.name] = Evaluator(pair.out / part.folder, runs, part.protocol, VOC_CLASSES, *statistics)
            evaluators[pair.name].open(pair.classifier)
        evaluator = evaluators[pair.name]
        for index, turn in photographs:
            name = pair.photographs.ids[index]
            left = [run for run in runs if name not in evaluator.done(run)]
            case = pair.case(index, turn) if left else None
            if case is not None:
                evaluator.add(pair.classifier, [case], left)
    for name, evaluator in evaluators.items():
        for label, reason in evaluator.failures.items():
            print(f"{name}: {label}: {reason}")


def main() -> None:
    """Run the parts that are asked for, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("voc", "coco", "weights", "tuned"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/paper"))
    parser.add_argument("--parts", nargs="+", default=[*PARTS, "tables"], choices=[*PARTS, "tables"])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS, help="only these")
    parser.add_argument("--limit", type=int, help="at most so many photographs of a pair, for a first look")
    a = parser.parse_args()
    torch.set_num_threads(1)
    folders = Folders(a.voc, a.coco, a.weights, a.tuned, a.out)
    pairs = {(n, d): Pair(n, d, folders) for n in a.networks for d in ("voc", "coco", "voc_train")}
    for name in [name for name in a.parts if name in PARTS]:
        for part in PARTS[name]:
            few = part.images if a.limit is None else min(part.images, a.limit)
            chosen = [network for network in part.networks if network in a.networks]
            if chosen:
                run(replace(part, networks=chosen, images=few), pairs)
    if "tables" in a.parts:
        print(write_tables(a.out))


if __name__ == "__main__":
    main()
