"""Which seeds, at which level: photographs of a few objects, of many, and small defects; one command, one table.

    uv run benchmarks/seeds_on_three_sets.py --animals ANIMALS --photographs DIR --defects TILES --weights WEIGHTS \
        --tuned TUNED --out runs/three

`--animals` holds VOCdevkit/VOC2012 (its `train`; persons and other things count as void), `--photographs` is a folder
in COCO format, `--defects` has `images/<class>`, with `free`, and `masks/<class>`. `--weights` holds ImageNet's weights
of three networks and `voc_from_imagenet.json`; `--tuned` what learnt the labels, as `<set>_<network>.ckpt`, such as
`defects_efficientnet_lite0.ckpt`. What is missing is left out. Maps are made once per image and kept in `--out`: a run
that was stopped goes on.

Every seed is reported at one level chosen on the other half of the images with the masks in hand; at the best single
level of all, the oracle; at the best level of each class; and at `background: auto`, which sees no mask. "refit" judges
the scores again by what those of all images have in common (`hedgeseg.seeds.refit`), "pamr" is the refiner at `auto`.
Below a table, the chains of the configurations that train a network of their own are held against the one before,
paired. Intervals are 95 % bootstrap intervals over images. Of the defects, the background's IoU is left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from base_scores import EXTENT, MAPS, base_scores, seeds_of
from seed_sets import Case, Folders, Looking, lookings
from torch import Tensor
from tqdm import tqdm

from hedgeseg.evaluation.seed_quality import compare_miou, mean_iou, miou_interval
from hedgeseg.seeds.auto_level import Auto, PooledMoments
from hedgeseg.seeds.background import Background, Constant
from hedgeseg.seeds.confusion import confusion_counts, iou_parts
from hedgeseg.seeds.cutting import cut_seed
from hedgeseg.seeds.multiscale import resize
from hedgeseg.seeds.picture import picture_for
from hedgeseg.seeds.refine import as_refiner
from hedgeseg.seeds.refit import learn_refit
from hedgeseg.seeds.spread import affinity
from hedgeseg.seeds.table import markdown

LEVELS = [round(0.04 * i, 2) for i in range(25)]
REFIT = ("hedge coarse", "full_grad", EXTENT)
CHAINS = ("hedge coarse", EXTENT)
"""Maps of the configurations that train a network of their own, spread, at `auto`, refined by PAMR;"""
BEFORE, BEFORE_AT = "hedge", 0.25
"""and the map and the level that these configurations had before."""
HEADER = [
    "seed",
    "level of the other half",
    "oracle",
    "level of each class",
    "auto",
    "precision",
    "recall",
    "auto, pamr",
]


def parts(scores: list[Tensor], seen: list[Case], rules: Sequence[Background], labels: int, shown: bool) -> Tensor:
    """Hits, predicted and true pixels (N, labels, 3) of masks cut by a rule each; `shown`: refined by PAMR."""
    rows, refiner = [], as_refiner("pamr") if shown else None
    for found, case, rule in zip(scores, seen, rules, strict=True):
        size = (int(case.truth.shape[0]), int(case.truth.shape[1]))

        def picture(case: Case = case, size: tuple[int, int] = size) -> Tensor:
            return picture_for(None, case.image, size, *case.statistics)

        seed = cut_seed(resize(found, size).clamp(0, 1), torch.tensor(case.classes), rule, refiner, picture)
        rows.append(torch.stack(iou_parts(confusion_counts(seed.mask, case.truth, labels)), dim=1))
    return torch.stack(rows)


def row(name: str, scores: list[Tensor], seen: list[Case], labels: int, first: int) -> tuple[list[str], Tensor]:
    """One line of the table, its parts at `auto` with PAMR; classes count from `first`, 1 without the background."""
    curve = {v: parts(scores, seen, [Constant(v)] * len(seen), labels, False)[:, first:] for v in LEVELS}
    halves = [max(LEVELS, key=lambda level, h=half: mean_iou(curve[level][1 - h :: 2])) for half in (0, 1)]
    chosen = curve[halves[0]].clone()
    chosen[1::2] = curve[halves[1]][1::2]
    oracle = max(LEVELS, key=lambda level: mean_iou(curve[level]))
    rules = levels_of_all(scores, seen)
    auto = parts(scores, seen, rules, labels, False)[:, first:]
    refined = parts(scores, seen, rules, labels, True)[:, first:]
    hits, predicted, true = auto.sum(0).unbind(-1)
    precision, recall = (float((hits / other)[1 - first :].nanmean()) for other in (predicted, true))
    own = _of_each(curve)
    line = [
        name, f"{_interval(chosen)} at {halves[0]:.2f}, {halves[1]:.2f}", f"{mean_iou(curve[oracle]):.3f}",
        f"{own:.3f}", _interval(auto), f"{precision:.3f}", f"{recall:.3f}", _interval(refined),
    ]  # fmt: skip
    return line, refined


def levels_of_all(scores: list[Tensor], seen: list[Case]) -> list[Background]:
    """`background: auto` over all images, for each of them."""
    pooled = PooledMoments()
    for case, found in zip(seen, scores, strict=True):
        pooled.add(found, case.classes)
    return [Auto().over(pooled, case.classes) for case in seen]


def chains(before: Tensor, now: dict[str, Tensor]) -> str:
    """The chains of the configurations against the one before them, by the parts of each."""
    told = [f"{BEFORE}, spread, {BEFORE_AT}, PAMR: {_interval(before)}"]
    for name, found in now.items():
        apart = compare_miou(found, before)
        told.append(
            f"{name}, spread, auto, PAMR: {_interval(found)}, paired {apart.difference:+.3f} ({apart.low:+.3f} to "
            f"{apart.high:+.3f})"
        )
    return "; ".join(told)


def _of_each(curve: dict[float, Tensor]) -> float:
    """Mean IoU where every class has the level that is best for it."""
    ious = []
    for found in curve.values():
        hits, predicted, true = found.sum(0).double().unbind(-1)
        ious.append(torch.where(true > 0, hits / (predicted + true - hits).clamp(min=1), torch.nan))
    return float(torch.stack(ious).nan_to_num(-1).amax(0)[~ious[0].isnan()].mean())


def _interval(found: Tensor) -> str:
    low, high = miou_interval(found)
    return f"{mean_iou(found):.3f} ({low:.3f}-{high:.3f})"


def refitted(looking: Looking, scores: list[Tensor], seen: list[Case], rounds: int) -> list[Tensor]:
    """The scores judged again."""
    empty = [looking.case(i) for i in looking.nothing]

    def given() -> list[tuple[Tensor, Tensor, list[int]]]:
        known = [(case.image, found, case.classes) for case, found in zip(seen, scores, strict=True)]
        return known + [(case.image, torch.zeros(0, *scores[0].shape[1:]), []) for case in empty]

    refit = learn_refit(looking.model, given, rounds)
    return [refit(case.image, case.classes) for case in tqdm(seen, desc=f"refit, {rounds}", leave=False)]


def table(looking: Looking, maps: list[str], rounds: Sequence[int]) -> str:
    """The table of a network on a set."""
    found = list(base_scores(looking, maps))
    seen = [case for case, _ in found]
    labels, first = len(looking.source.classes) + 1, int(looking.data == "defects")
    plain = {name: [base[name] for _, base in found] for name in maps}
    rows = [row(name, scores, seen, labels, first)[0] for name, scores in plain.items()]
    fused = [EXTENT] if {"full_grad", "hedge coarse"} <= {*maps} else []
    spread: dict[str, list[Tensor]] = {name: [] for name in [*maps, *fused]}
    for case, base in found:
        alike = affinity(looking.model, case.image)
        for name, scores in spread.items():
            scores.append(seeds_of(name, base, alike))
    made = {name: row(f"{name}, spread", scores, seen, labels, first) for name, scores in spread.items()}
    rows += [line for line, _ in made.values()]
    for name in [name for name in REFIT if name in spread]:
        for count in rounds:
            again = refitted(looking, spread[name], seen, count)
            title = f"{name}, spread, refit" + (" once" if count == 1 else "")
            rows.append(row(title, again, seen, labels, first)[0])
    several = sum(len(case.classes) > 1 for case in seen)
    title = f"## {looking.name}: {len(seen)} images, {several} of several classes, {looking.side} px"
    text = f"{title}\n\n{markdown(HEADER, rows)}\n"
    if BEFORE not in spread:
        return text
    before = parts(spread[BEFORE], seen, [Constant(BEFORE_AT)] * len(seen), labels, True)[:, first:]
    return f"{text}\n{chains(before, {name: made[name][1] for name in CHAINS if name in made})}\n"


def main() -> None:
    """Make the scores of every network on every set, place the levels, print and keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("animals", "photographs", "defects"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--tuned", type=Path, default=Path("runs/tuned"))
    parser.add_argument("--out", type=Path, default=Path("runs/three"))
    parser.add_argument("--maps", nargs="+", default=list(MAPS), choices=MAPS)
    parser.add_argument("--rounds", nargs="*", type=int, default=[2], help="of the refit; none to leave it out")
    parser.add_argument("--limit", type=int, help="so many images of a set at most, every n-th")
    parser.add_argument("--only", default="", help="sets and networks whose name holds this")
    parser.add_argument("--threads", type=int, default=1)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    folders = Folders(a.animals, a.photographs, a.defects, a.weights, a.tuned, a.out)
    for looking in lookings(folders, a.limit, lambda name: a.only in name):
        text = table(looking, a.maps, a.rounds)
        (a.out / f"{looking.out.name}.md").write_text(text, encoding="utf-8")
        print(text, flush=True)


if __name__ == "__main__":
    main()
