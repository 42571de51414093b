"""Single places of images, as a network sees them, and a small classifier of places that learns from many seeds.

A seed errs where its one image misleads, and another image of the class errs elsewhere. A classifier of places, too
small to learn single errors, keeps what the seeds of a class have in common: cat fur is cat in most of them, grass in
few. Its places are looked at through the maps of the network at strides of 8, 16 and 32, which are not trained.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hedgeseg.seeds.multiscale import resize

HIDDEN = 64
DROPOUT = 0.3
STEPS = 300
BATCH = 4800
RATE = 4e-3
DECAY = 1e-2

UNSURE = -1
"""Target of a place that nothing is learnt from."""


def on_one_grid(maps: list[Tensor]) -> Tensor:
    """Maps (1, D_i, h_i, w_i) of one image, each brought to the finest grid of them: float (D, h, w)."""
    size = max((tuple(found.shape[-2:]) for found in maps), key=lambda sides: sides[0] * sides[1])
    return torch.cat([resize(found[0].float(), (size[0], size[1])) for found in maps])


class PlaceClassifier(nn.Module):
    """Two layers over the features of a place.

    Args:
        mean: float (D,), of the features.
        width: float (D,), their standard deviation.
        labels: number of outputs, background first.
    """

    mean: Tensor
    width: Tensor

    def __init__(self, mean: Tensor, width: Tensor, labels: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("width", width)
        self.layers = nn.Sequential(
            nn.Dropout(DROPOUT), nn.Linear(len(mean), HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, labels)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Logits (P, labels) of places (P, D)."""
        return self.layers((features - self.mean) / self.width)


def learn_places(features: Tensor, targets: Tensor, labels: int, seed: int = 0) -> PlaceClassifier:
    """Train a classifier of places; the same seed gives the same one, with the dropout of another device a similar one.

    Args:
        features: (P, D) of any float type, places of all images.
        targets: int64 (P,), 0 background, label k from 1, `UNSURE`.
        labels: number of labels, background included.
        seed: of weights, batches and dropout.

    Raises:
        ValueError: no places that are sure, or targets of another number.
    """
    if len(features) != len(targets):
        raise ValueError(f"there is a target for every place, got {len(features)} and {len(targets)}")
    sure = targets != UNSURE
    features, targets = features[sure], targets[sure]
    if not len(features):
        raise ValueError("no place is sure: there is nothing to learn from")
    device = features.device
    some = features[:: max(1, len(features) // 50_000)].float()
    mean, width = some.mean(0), some.std(0, correction=0) + 1e-3
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.enable_grad():
        torch.manual_seed(seed)
        classifier = PlaceClassifier(mean, width, labels).to(device)
        optimiser = torch.optim.AdamW(classifier.parameters(), lr=RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS)
        for _ in range(STEPS):
            drawn = torch.randint(len(features), (BATCH,)).to(device)
            loss = F.cross_entropy(classifier(features[drawn].float()), targets[drawn])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return classifier.eval().requires_grad_(False)
