"""What each step from maps to masks brings and costs, on photographs with masks: one command, one folder of evidence.

    uv run benchmarks/seed_chains.py --root DIR --arch mobilenet_v2 --weights FILE --groups FILE --out runs/chains \
        --maps "hedge gamma=2.0@289,353,417" grad_cam@289,353,417 rsp@289,353,417 --fuse "rsp*grad_cam"

DIR is a folder in COCO format. Explained are the labelled classes that the network knows, as someone without masks
would do it; pixels of other classes count as background. Maps of all sizes, mirrored copies included, are made once and
kept (`maps/`), so that a second run with other steps is cheap.

The images are dealt into two halves. The background level of either half is chosen on the other, so that every image
is reported at a level that did not see it; intervals are 95 % bootstrap intervals over images. Refiners erase what is
sparse: they get 0.85 of the level that was best without them. Differences are paired, to the best of all rows of
`--against`: that flatters the rival. Masks are scored at `--side` pixels (a dense CRF's widths are in pixels: at full
size it acts more locally).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from chain_maps import Bench, Photograph
from torch import Tensor
from tqdm import tqdm

from hedgeseg.evaluation.seed_quality import compare_miou, miou_interval
from hedgeseg.seeds.background import calibrate
from hedgeseg.seeds.confusion import confusion_counts, iou_parts, ious
from hedgeseg.seeds.refine import REFINERS
from hedgeseg.seeds.refine.crf import DenseCRF
from hedgeseg.seeds.seed import IGNORE

LEVELS = torch.linspace(0, 1, 51)[:-1]
SHARE = 0.85
"""Level at which refiners are tried, as a share of the best level without them."""
STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "crf irn": ("crf", {"preset": "irn"}),
    "crf psa": ("crf", {"preset": "psa"}),
    "crf deeplab": ("crf", {"preset": "deeplab"}),
    "pamr": ("pamr", {}),
    "guided": ("guided", {}),
    "random_walker": ("random_walker", {}),
    "superpixels": ("superpixels", {}),
}
SLOW = ("pamr", "random_walker")
"""Run only where `--steps` names them."""

Masks = dict[tuple[str, str, float], Tensor]


def plain_masks(bench: Bench, photograph: Photograph) -> tuple[Masks, dict[str, float]]:
    """Confusion of every row at every level, before refinement."""
    found, seconds = bench.scores(photograph)
    counts: Masks = {}
    for name, scores in found.items():
        best, row = scores.max(0)
        labels = torch.tensor(photograph.classes)[row] + 1
        for level, found_at in zip(LEVELS.tolist(), curve(best, labels, photograph, bench), strict=True):
            counts[name, "", level] = found_at
    return counts, seconds


def curve(best: Tensor, labels: Tensor, photograph: Photograph, bench: Bench) -> Tensor:
    """Confusions (levels, C + 1, C + 2) at all levels, from one histogram: a pixel is foreground below its score."""
    label_count = len(bench.source.classes) + 1
    true = photograph.truth.long()
    passed = torch.bucketize(best.contiguous(), LEVELS)  # how many levels lie below the score
    steps = len(LEVELS) + 1
    cells = ((true * label_count + labels) * steps + passed)[true != IGNORE]
    histogram = torch.bincount(cells, minlength=label_count**2 * steps).view(label_count, label_count, steps)
    counts = torch.zeros(len(LEVELS), label_count, label_count + 1, dtype=torch.int32)
    counts[:, :, :-1] = histogram.flip(2).cumsum(2).flip(2)[:, :, 1:].permute(2, 0, 1)
    counts[:, :, 0] = histogram.sum((1, 2)) - counts.sum(2)
    return counts


def refined_masks(
    bench: Bench, photograph: Photograph, levels: dict[str, float], steps: Sequence[str]
) -> tuple[Masks, dict[str, float]]:
    """Confusion of every row after every refiner."""
    found, _ = bench.scores(photograph)
    ids = torch.tensor([0, *(c + 1 for c in photograph.classes)], dtype=torch.uint8)
    counts: Masks = {}
    seconds: dict[str, list[float]] = defaultdict(list)
    for step in steps:
        name, options = STEPS[step]
        start = time.perf_counter()
        crf = DenseCRF(photograph.picture, options["preset"]) if name == "crf" else None
        if crf is not None:
            seconds[f"{step}: lattices"].append(time.perf_counter() - start)
        for row, best in levels.items():
            level = best * SHARE
            probabilities = calibrate(found[row], torch.tensor(level))
            start = time.perf_counter()
            if crf is not None:
                answer = crf.posterior(probabilities, unary="labels")
            else:
                answer = REFINERS[name](photograph.picture, probabilities, **options)
            seconds[step].append(time.perf_counter() - start)
            counts[row, step, level] = _counts(ids[answer.argmax(0)], photograph, bench)
        if step == "crf irn":
            _against_cpp(photograph, probabilities, answer, seconds)
    return counts, {step: float(np.mean(values)) for step, values in seconds.items()}


def _against_cpp(photograph: Photograph, given: Tensor, ours: Tensor, seconds: dict[str, list[float]]) -> None:
    """The same posterior by pydensecrf2, where it is installed: its time, and how far it is from ours."""
    try:
        import pydensecrf.densecrf as cpp
    except ImportError:
        return
    labels, height, width = given.shape
    start = time.perf_counter()
    chosen = torch.full_like(given, 0.3 / (labels - 1)).scatter_(0, given.argmax(0, keepdim=True), 0.7)
    crf = cpp.DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(np.ascontiguousarray(-chosen.log().flatten(1).numpy()))
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=50, srgb=5, rgbim=photograph.picture.numpy(), compat=10)
    theirs = torch.from_numpy(np.array(crf.inference(10)).reshape(given.shape))
    seconds["crf irn by pydensecrf2, lattices included"].append(time.perf_counter() - start)
    seconds["(largest difference to pydensecrf2)"].append(float((theirs - ours).abs().max()))


def _counts(mask: Tensor, photograph: Photograph, bench: Bench) -> Tensor:
    return confusion_counts(mask, photograph.truth, len(bench.source.classes)).to(torch.int32)


def sweep(
    bench: Bench, photographs: Sequence[Photograph], function: Callable[..., Any], *more: Any
) -> tuple[Masks, dict[str, float]]:
    """A function of photographs: confusions stacked to (N, C + 1, C + 2), mean seconds.

    What a photograph gave is kept, so that a stopped run goes on where it was.
    """
    settings = repr((function.__name__, more, bench.runs, bench.a.fuse, bench.a.side))
    kept = bench.a.out / "counts" / bench.a.arch / hashlib.sha256(settings.encode()).hexdigest()[:12]
    kept.mkdir(parents=True, exist_ok=True)
    answers = []
    for photograph in tqdm(photographs, desc=function.__name__):
        path = kept / f"{photograph.name}.pt"
        if not path.is_file():
            torch.save(function(bench, photograph, *more), path.with_suffix(".part"))
            path.with_suffix(".part").rename(path)
        answers.append(torch.load(path))
    counts = {key: torch.stack([found[key] for found, _ in answers]) for key in answers[0][0]}
    names = dict.fromkeys(name for _, seconds in answers for name in seconds)
    return counts, {name: float(np.mean([s[name] for _, s in answers if name in s])) for name in names}


def parts(counts: Tensor) -> Tensor:
    """Hits, predicted and true pixels (N, C + 1, 3)."""
    return torch.stack(iou_parts(counts.long()), dim=2)


def miou(counts: Tensor) -> float:
    """Mean IoU of pooled counts (N, C + 1, C + 2)."""
    return float(ious(counts.sum(0).long()).nanmean())


def best_levels(counts: Masks) -> dict[str, float]:
    """The level of greatest mean IoU of every map."""
    names = dict.fromkeys(name for name, _, _ in counts)
    return {
        name: max((key for key in counts if key[0] == name), key=lambda key: miou(counts[key]))[2] for name in names
    }


def as_row(name: str, step: str, levels: Sequence[float], counts: Tensor) -> dict[str, Any]:
    """A row's numbers from the counts of all images, each at the level that the other half chose."""
    hits, predicted, true = iou_parts(counts.sum(0).long())
    low, high = miou_interval(parts(counts))
    return {
        "map": name, "refine": step, "levels": list(levels), "miou": miou(counts), "low": low, "high": high,
        "precision": float((hits / predicted)[1:].nanmean()), "recall": float((hits / true)[1:].nanmean()),
        "parts": parts(counts),
    }  # fmt: skip


def joined(halves: Sequence[Tensor]) -> Tensor:
    """The images of both halves in their order."""
    whole = halves[0].new_empty(sum(map(len, halves)), *halves[0].shape[1:])
    whole[0::2], whole[1::2] = halves
    return whole


def main() -> None:
    """Make the maps, score every chain, write the table."""
    a = parse_arguments()
    torch.set_num_threads(a.threads)
    bench = Bench(a)
    counts, seconds = sweep(bench, bench.photographs, plain_masks)
    # The levels of a half are those that are best on the other.
    levels = [best_levels({key: found[1 - half :: 2] for key, found in counts.items()}) for half in (0, 1)]
    table = []
    for name in levels[0]:
        own = [levels[half][name] for half in (0, 1)]
        table.append(as_row(name, "", own, joined([counts[name, "", own[half]][half::2] for half in (0, 1)])))
    refined, costs = [], {}
    for half in (0, 1) if a.steps else ():
        wanted = {name: level for name, level in levels[half].items() if not a.refine or name in a.refine}
        more, costs = sweep(bench, bench.photographs[half::2], refined_masks, wanted, a.steps)
        refined.append({(name, step): (level, found) for (name, step, level), found in more.items()})
    for (name, step), (first, found) in refined[0].items() if refined else ():
        second, others = refined[1][name, step]
        table.append(as_row(name, step, (first, second), joined([found, others])))
    rival = max((row for row in table if row["map"] == a.against), key=lambda row: row["miou"])
    theirs = rival["parts"]
    torch.save({(row["map"], row["refine"]): row["parts"] for row in table}, a.out / f"{a.arch}.pt")
    for row in table:
        difference = compare_miou(row.pop("parts"), theirs)
        row["difference"] = [difference.difference, difference.low, difference.high, difference.p_value]
    write(a, len(bench.photographs), table, rival, {**seconds, **costs})


def write(
    a: argparse.Namespace, count: int, table: list[dict[str, Any]], rival: dict[str, Any], seconds: dict[str, float]
) -> None:
    """`<arch>.md` and `<arch>.json`, beside `<arch>.pt` for `chains_of_networks.py`."""
    name = f"{rival['map']}, {rival['refine'] or 'unrefined'}"
    head = f"{a.arch}, {count} photographs, the level of either half chosen on the other; against {name}\n"
    lines = [head, "| map | refine | levels | mIoU (95 %) | difference (95 %) | p | precision | recall |"]
    lines.append("|---|---|--:|--:|--:|--:|--:|--:|")
    for row in sorted(table, key=lambda row: (row["map"], row["refine"])):
        d = row["difference"]
        lines.append(
            f"| {row['map']} | {row['refine']} | {' '.join(f'{level:.2f}' for level in row['levels'])}"
            f" | {row['miou']:.3f} ({row['low']:.3f}-{row['high']:.3f}) |"
            f" {d[0]:+.3f} ({d[1]:+.3f} to {d[2]:+.3f}) | {d[3]:.3f} | {row['precision']:.3f} | {row['recall']:.3f} |"
        )
    lines += ["", "| step | seconds per image |", "|---|--:|"]
    lines += [f"| {name} | {value:.4f} |" for name, value in seconds.items()]
    text = "\n".join(lines) + "\n"
    (a.out / f"{a.arch}.md").write_text(text, encoding="utf-8")
    (a.out / f"{a.arch}.json").write_text(json.dumps({"rows": table, "seconds": seconds}, indent=1), encoding="utf-8")
    print(text)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--arch", default="mobilenet_v2")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--groups", required=True)
    parser.add_argument("--maps", nargs="+", required=True, help="method option=value@size,size")
    parser.add_argument("--fuse", nargs="*", default=[], help="a*b geometric mean, a+b mean, a|b maximum")
    parser.add_argument("--against", default="grad_cam", help="the map whose best row the others are compared with")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--refine", nargs="*", default=[], help="rows to refine, such as 'grad_cam, spread'; else all")
    usual = [step for step in STEPS if step not in SLOW]
    parser.add_argument("--steps", nargs="*", default=usual, choices=list(STEPS), help="how to refine them")
    parser.add_argument("--out", type=Path, default=Path("runs/chains"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
