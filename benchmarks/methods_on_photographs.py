"""How well the maps of different methods find objects on photographs with masks: one table, one picture.

    uv run benchmarks/methods_on_photographs.py --root DIR --arch mobilenet_v2 --weights FILE --groups FILE \
        --image-size 225 --methods hedge hedge:gamma=2.0 grad_cam --out runs/methods

DIR is a folder in COCO format (`images/`, `instances.json`, perhaps `masks/`). Explained are the labelled classes that
cover more than 1 % of an image and are among the network's three most likely. A method is `name` or
`name:option=value,option=value`. Metrics are means over (image, class) pairs with 95 % bootstrap intervals over images:

PG    pointing game, tolerance 3 % of the side, mean over classes
AP    foreground average precision of the pixels
O/I   outside-inside ratio (Eq. 14)
PR    positive ratio
mIoU  seeds from the positive part at the best of all thresholds, 21 classes
"""

from __future__ import annotations

import argparse
import ast
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from hedgeseg import attribute
from hedgeseg.data.coco import CocoFolder
from hedgeseg.data.dataset import ImageSubset
from hedgeseg.data.transforms import eval_transform
from hedgeseg.metrics import SeedCurve, score_maps, summarize
from hedgeseg.models import Classifier
from hedgeseg.visual import contact_sheet, denormalise, outline, overlay

SHOWN = {
    "pointing_game": "PG",
    "pixel_average_precision": "AP",
    "outside_inside_ratio": "O/I",
    "positive_ratio": "PR",
}


@dataclass
class Column:
    """One method and what it scored."""

    label: str
    method: str
    options: dict[str, Any]
    curve: SeedCurve
    scores: list[dict[str, Tensor]] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def parse(cls, text: str, classes: int) -> Column:
        """From ``name:option=value,...``."""
        name, _, rest = text.partition(":")
        pairs = [pair.split("=", 1) for pair in rest.split(",") if pair]
        return cls(text, name, {k: _literal(v) for k, v in pairs}, SeedCurve(num_classes=classes))


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def explained_classes(logits: Tensor, label: Tensor, mask: Tensor, smallest: float = 0.01) -> list[int]:
    """Labelled classes that are visible and that the network sees."""
    top = set(logits.topk(3).indices.tolist())
    return [c for c in label.nonzero().flatten().tolist() if c in top and (mask == c + 1).float().mean() > smallest]


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--arch", default="mobilenet_v2")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--groups", required=True)
    parser.add_argument("--image-size", type=int, default=225)
    parser.add_argument("--methods", nargs="+", default=["hedge", "hedge:gamma=2.0", "grad_cam"])
    parser.add_argument("--limit", type=int, default=None, help="stop after so many photographs with explained classes")
    parser.add_argument("--rows", type=int, default=12, help="rows of the picture")
    parser.add_argument("--out", type=Path, default=Path("runs/methods"))
    return parser.parse_args()


def main() -> None:
    """Explain, score, print and write."""
    a = parse_arguments()
    model = Classifier(20, a.arch, weights=a.weights, groups=a.groups).eval()
    source = CocoFolder(a.root)
    dataset = ImageSubset(source, range(len(source)), eval_transform(a.image_size))
    columns = [Column.parse(text, len(source.classes)) for text in a.methods]
    classes: list[int] = []
    images: list[int] = []
    rows, captions = [], []
    for i in tqdm(range(len(dataset)), desc="photographs"):
        sample = dataset[i]
        image, mask = sample["image"], sample["mask"]
        with torch.no_grad():
            targets = explained_classes(model(image[None])[0], sample["label"], mask)
        if not targets:
            continue
        classes += targets
        images += [i] * len(targets)
        truth = torch.stack([mask == c + 1 for c in targets])
        picture = denormalise(image)
        panels = [[outline(picture, m.numpy())] for m in truth]
        for column in columns:
            start = time.perf_counter()
            maps = attribute(model, image[None], [targets], method=column.method, **column.options).maps[0].float()
            column.seconds += time.perf_counter() - start
            valid = (mask != 255).expand_as(truth)
            column.scores.append(score_maps(maps, truth, valid, tolerance=0.03 * a.image_size))
            positive = maps.clamp(min=0)
            peaks = positive.flatten(1).amax(1).clamp(min=1e-12).view(-1, 1, 1)
            column.curve.update(positive / peaks, torch.tensor(targets), mask)
            for panel, m in zip(panels, maps, strict=True):
                panel.append(overlay(picture, m.numpy()))
        # Images with two classes first: there a map has to tell them apart.
        if len(targets) > 1 or len(rows) < a.rows // 2:
            rows += panels
            captions += [f"{dataset.ids[i]}: {source.classes[c]}" for c in targets]
        if a.limit is not None and len(set(images)) >= a.limit:
            break
    write(a, columns, classes, images, rows, captions)


def write(a: argparse.Namespace, columns: list[Column], classes: list[int], images: list[int],
          rows: list[Any], captions: list[str]) -> None:  # fmt: skip
    """The table and the picture."""
    lines = ["| map | n | " + " | ".join(SHOWN.values()) + " | mIoU | s/map |", "|---|" + "---|" * (len(SHOWN) + 3)]
    for column in columns:
        scores = {k: torch.cat([s[k] for s in column.scores]) for k in column.scores[0]}
        summary = summarize(scores, torch.tensor(classes), torch.tensor(images))
        cells = [f"{summary[k]:.3f} ({summary[k + '_low']:.3f}-{summary[k + '_high']:.3f})" for k in SHOWN]
        miou = float(column.curve.compute()["miou_best"])
        cells += [f"{miou:.3f}", f"{column.seconds / len(classes):.2f}"]
        lines.append(f"| {column.label} | {len(classes)} | {' | '.join(cells)} |")
    table = "\n".join(lines)
    print(f"{a.arch}, {a.image_size} px, {len(set(images))} photographs\n{table}")
    a.out.mkdir(parents=True, exist_ok=True)
    (a.out / f"{a.arch}.md").write_text(table + "\n", encoding="utf-8")
    sheet = contact_sheet(
        rows[-a.rows :], columns=["truth", *(c.label for c in columns)], rows=captions[-a.rows :], title=a.arch
    )
    Image.fromarray(sheet).save(a.out / f"{a.arch}.png")
    print(f"table and picture: {a.out}")


if __name__ == "__main__":
    main()
