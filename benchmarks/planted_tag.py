"""Does an audit find a planted cheat, and nothing where there is none?

    uv run benchmarks/planted_tag.py shapes --seeds 10 --out runs/planted
    uv run benchmarks/planted_tag.py animals --root DIR --weights FILE --seeds 1 --out runs/planted

A small tag is drawn on 40 % of one class's training pictures, anywhere near a corner; a classifier is trained on the
image-level labels; the training pictures are audited. The same without the tag, with the same settings. DIR holds
VOCdevkit/VOC2012 with pictures of animals; FILE the ImageNet weights of timm's tf_efficientnet_lite0.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer, seed_everything
from PIL import Image, ImageDraw
from torch.utils.data import DataLoader

from hedgeseg.callbacks import DatasetAudit
from hedgeseg.data import LabelledImages, Shapes, VocDataModule, collate, eval_transform
from hedgeseg.data.dataset import ImageSubset
from hedgeseg.models import Classifier

SHARE = 0.4
TRAINED = {"shapes": (32, "32-true"), "animals": (16, "bf16-mixed")}
"""Pictures of a step, and the precision."""


class Tagged(ImageSubset):
    """Images of a data set, some of which carry a tag near a corner.

    Args:
        source: the images.
        tagged: positions of those that get one.
        seed: of the tags' places.
        transform: pipeline over image, mask and boxes.
    """

    def __init__(self, source: LabelledImages, tagged: Sequence[int], seed: int, transform: object) -> None:
        super().__init__(source, range(len(source)), transform)  # type: ignore[arg-type]
        self.tagged = set(tagged)
        self.seed = seed

    def image(self, index: int) -> np.ndarray:
        """The image, with its tag."""
        image = super().image(index)
        return tag(image, np.random.default_rng((self.seed, index))) if index in self.tagged else image


def tag(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a yellow label with a dark frame and two dark lines, its place drawn within the lower left quarter."""
    drawn = Image.fromarray(image)
    height, width = image.shape[:2]
    long, short = 0.19 * min(height, width), 0.11 * min(height, width)
    left = float(rng.uniform(0.02, 0.3)) * width
    top = float(rng.uniform(0.62, 0.86)) * height
    pen = ImageDraw.Draw(drawn)
    pen.rectangle((left, top, left + long, top + short), fill=(250, 220, 40), outline=(20, 20, 20), width=2)
    for line in (0.35, 0.65):
        ends = (left + 0.2 * long, top + line * short, left + 0.8 * long, top + line * short)
        pen.line(ends, fill=(20, 20, 160), width=max(1, round(short / 8)))
    return np.asarray(drawn)


def data_of(a: argparse.Namespace, seed: int) -> tuple[LabelledImages, Classifier, int, int, int]:
    """Pictures, an untrained classifier, the class to tag, epochs and the images' size."""
    if a.data == "shapes":
        pictures = Shapes(a.images, "train", seed, 96)
        return pictures, Classifier(len(pictures.classes), "small_cnn", lr=5e-3), seed % 6, 6, 96
    module = VocDataModule(a.root, train_split="train_aug", val_split="val", labels="mask", image_size=224)
    module.setup("fit")
    assert module.train_dataset is not None
    classifier = Classifier(
        20, "timm/tf_efficientnet_lite0", a.weights, freeze_batch_norm=True, lr=3e-4, head_lr_factor=10.0
    )
    animals = [7, 9, 11, 12, 16]
    whole = module.train_dataset
    chosen = [i for i in range(len(whole)) if set(whole.labels(i)) & set(animals)]
    return ImageSubset(whole, chosen[: a.images]), classifier, animals[seed % 5], 8, 224


def run(a: argparse.Namespace, seed: int, with_tag: bool) -> dict[str, object]:
    """Train, audit, and compare what was flagged with what was planted."""
    seed_everything(seed)
    pictures, classifier, chosen, epochs, size = data_of(a, seed)
    of_class = [i for i in range(len(pictures)) if chosen in pictures.labels(i)]
    rng = np.random.default_rng(seed)
    tagged = sorted(rng.choice(of_class, round(SHARE * len(of_class)), replace=False).tolist()) if with_tag else []
    dataset = Tagged(pictures, tagged, seed, eval_transform(size))
    folder = Path(a.out) / f"{a.data}_{seed}_{'tag' if with_tag else 'plain'}"
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "enable_progress_bar": False,
    }
    batch, precision = TRAINED[a.data]
    trainer = Trainer(max_epochs=epochs, precision=precision, **quiet)
    trainer.fit(classifier, DataLoader(dataset, batch, shuffle=True, drop_last=True, collate_fn=collate))
    begun = time.perf_counter()
    audit = DatasetAudit(str(folder), split="train", mirror=False)
    audited = ImageSubset(dataset, range(min(a.audited, len(dataset))), dataset.transform)
    Trainer(callbacks=[audit], **quiet).validate(classifier, DataLoader(audited, 16, collate_fn=collate), verbose=False)
    seconds = time.perf_counter() - begun
    findings = audit.findings
    assert findings is not None
    flagged = [cluster for cluster in findings.clusters if cluster.flagged]
    row: dict[str, object] = {
        "data": a.data, "seed": seed, "tagged": sum(i < len(audited) for i in tagged),
        "images": len(audited), "flagged": len(flagged), "seconds": round(seconds, 1),
        "accuracy": round(float(findings.overall["accuracy"]), 3),
    }  # fmt: skip
    if flagged:
        first = flagged[0]
        names = {findings.evidence[i].id for i in first.members}
        planted = {audited.ids[i] for i in tagged if i < len(audited)}
        row.update(
            first_is_the_class=first.class_index == chosen, found=len(names & planted), others=len(names - planted),
            gap=round(first.gap, 3), drop=round(first.removal_drop, 3), control=round(first.control_drop, 3),
        )  # fmt: skip
    row["flags"] = [(c.class_index, len(c.members), round(c.gap, 2)) for c in flagged]
    if with_tag:
        row["reliance"] = reliance(classifier, pictures, chosen, seed, size)
    return row


@torch.no_grad()
def reliance(classifier: Classifier, pictures: LabelledImages, chosen: int, seed: int, size: int) -> list[float]:
    """Mean probability of the class on 60 pictures without it, as they are and with a tag."""
    others = [i for i in range(len(pictures)) if chosen not in pictures.labels(i)][:60]
    classifier.eval()
    means = []
    for tagged in ([], others):
        dataset = Tagged(pictures, tagged, seed + 1, eval_transform(size))
        seen = [classifier(dataset[i]["image"][None]).sigmoid()[0, chosen] for i in others]
        means.append(round(float(torch.stack(seen).mean()), 3))
    return means


def main() -> None:
    """Both, for every seed; one line of JSON each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=("shapes", "animals"))
    parser.add_argument("--root", default="data", help="folder that holds VOCdevkit/VOC2012")
    parser.add_argument("--weights", help="file with the ImageNet weights of tf_efficientnet_lite0")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--audited", type=int, default=600, help="of these pictures are explained")
    parser.add_argument("--out", default="runs/planted")
    a = parser.parse_args()
    torch.set_float32_matmul_precision("highest")
    for seed in range(a.first, a.first + a.seeds):
        for with_tag in (True, False):
            print(json.dumps(run(a, seed, with_tag)), flush=True)


if __name__ == "__main__":
    main()
