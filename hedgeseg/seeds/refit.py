"""Seeds judged again by what those of all images have in common.

The seeds of a data set, cut at the levels of `auto`, are what a small classifier of places learns from
(`hedgeseg.seeds.places`); it then says of every place how likely it is one of the classes that the image is labelled
with, against background. These scores are spread over what the network sees alike. Images labelled with no class take
part: all their places are background. Nothing but labels and seeds is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from hedgeseg.seeds.auto_level import Auto, PooledMoments
from hedgeseg.seeds.background import calibrate
from hedgeseg.seeds.fusion import normalise
from hedgeseg.seeds.multiscale import resize
from hedgeseg.seeds.places import UNSURE, PlaceClassifier, learn_places, on_one_grid
from hedgeseg.seeds.spread import STRIDES, Affinity, likeness, reduced
from hedgeseg.seeds.stage_maps import Stage, find_stages, stage_maps

SEEN = (*STRIDES, 32)
Seeds = Callable[[], Iterable[tuple[Tensor, Tensor, Sequence[int]]]]

ROUNDS = 2

PLACES = 256
"""Places of an image that are drawn at random to learn from."""

BAND = 0.15
"""How far a place's score has to be from the level, which is at 1/2, for the place to be learnt from."""

BUDGET = 150 * 2**20
"""Bytes of features that are kept at most: of very many images fewer places each."""


class Refit:
    """Makes scores from an image and its classes, by what was learnt from the seeds of many.

    Args:
        model: whose maps are looked at.
        places: what was learnt, background first.
        classes: index of the class of each further label.
        stages: the maps that are looked at.
    """

    def __init__(
        self, model: nn.Module, places: PlaceClassifier, classes: Sequence[int], stages: Sequence[Stage]
    ) -> None:
        self.model = model
        self.stages = stages
        self.places = places
        self.label_of = {c: label for label, c in enumerate(classes, start=1)}

    @torch.no_grad()
    def __call__(self, image: Tensor, classes: Sequence[int]) -> Tensor:
        """Scores (K, h, w) in [0, 1] of the classes, on the grid of the network's finest map.

        Args:
            image: float (C, H, W), as the model takes it.
            classes: indices of the labels of the image.

        Raises:
            ValueError: a class that no seed was of.
        """
        strange = [c for c in classes if c not in self.label_of]
        if strange:
            raise ValueError(f"class {strange[0]} was in no seed that was learnt from: {sorted(self.label_of)} were")
        return self.judged(*seen(self.model, image, self.stages), classes)

    def judged(self, features: Tensor, alike: Affinity, classes: Sequence[int]) -> Tensor:
        """The same, of an image that was looked at: what `seen` tells of it."""
        logits = self.places(features.flatten(1).T)[:, [0, *(self.label_of[c] for c in classes)]]
        likely = logits.softmax(1)[:, 1:].T.reshape(len(classes), *features.shape[1:])
        return normalise(alike.spread(likely)) if len(classes) else likely


@torch.no_grad()
def learn_refit(model: nn.Module, seeds: Seeds, rounds: int = ROUNDS, seed: int = 0) -> Refit:
    """Learn from seeds, and again from what was made of them.

    Args:
        model: whose maps are looked at, in evaluation mode.
        seeds: gives, every time it is called, of every image the image float (C, H, W) as the model takes it, scores
            (K, H', W') in [0, 1] and their K classes.
        rounds: how often; in every further round the scores are those of the round before.
        seed: of everything random.

    Raises:
        ValueError: no seed of any class, or no round.
    """
    if rounds < 1:
        raise ValueError(f"rounds is how often is learnt, at least once, got {rounds}")
    found: Refit | None = None
    for _ in range(rounds):
        found = _one_round(model, seeds(), found, seed)
    assert found is not None
    return found


def _one_round(
    model: nn.Module, seeds: Iterable[tuple[Tensor, Tensor, Sequence[int]]], before: Refit | None, seed: int
) -> Refit:
    generator = torch.Generator().manual_seed(seed)
    pooled, samples = PooledMoments(), _Samples(generator)
    stages = None if before is None else before.stages
    for image, scores, classes in seeds:
        stages = stages or find_stages(model, reduced(image), SEEN)
        features, alike = seen(model, image, stages)
        if before is None:
            on_grid = resize(scores.to(features), (int(features.shape[1]), int(features.shape[2])))
        else:
            on_grid = before.judged(features, alike, classes)
        pooled.add(on_grid, classes)
        samples.add(features.flatten(1).T, on_grid.flatten(1).T, classes)
    known = sorted({c for _, _, classes in samples.kept for c in classes})
    if not known:
        raise ValueError("there is no seed of any class to learn from")
    rule, targets = Auto(), []
    for _, scores, classes in samples.kept:
        if not classes:
            targets.append(torch.zeros(len(scores), dtype=torch.int64))
            continue
        (levels,) = rule.over(pooled, classes).levels(scores.T[:, :, None])
        labels = torch.tensor([0, *(known.index(c) + 1 for c in classes)])
        targets.append(labels_of(scores, levels[:, 0, 0], labels))
    features = torch.cat([found for found, _, _ in samples.kept])
    places = learn_places(features, torch.cat(targets).to(features.device), len(known) + 1, seed)
    assert stages is not None
    return Refit(model, places, known, stages)


def labels_of(scores: Tensor, levels: Tensor, labels: Tensor) -> Tensor:
    """What places are learnt as: a class clearly above its level, background clearly below all, else nothing.

    Args:
        scores: (P, K) in [0, 1].
        levels: (K,).
        labels: int64 (1 + K,), of background and of the classes.

    Returns:
        int64 (P,), `UNSURE` where the strongest class is within `BAND` of its level, on the scale of `calibrate`.
    """
    stretched = calibrate(scores.T[:, :, None].clamp(0, 1), levels.view(-1, 1, 1))[..., 0]
    strongest = stretched[1:].amax(0) / (stretched[0] + stretched[1:].amax(0))
    sure = (strongest - 0.5).abs() > BAND
    return torch.where(sure.cpu(), labels[stretched.max(0).indices.cpu()], UNSURE)


def seen(model: nn.Module, image: Tensor, stages: Sequence[Stage]) -> tuple[Tensor, Affinity]:
    """Features (D, h, w) of all places of an image, and how like they are; one forward pass."""
    maps = stage_maps(model, reduced(image), stages)
    return on_one_grid(maps), likeness(maps[: len(STRIDES)])


class _Samples:
    """Places of every image, in half precision; fewer of each as soon as they grow too many."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.each = PLACES
        self.kept: list[tuple[Tensor, Tensor, list[int]]] = []
        self._bytes = 0

    def add(self, features: Tensor, scores: Tensor, classes: Sequence[int]) -> None:
        """Add an image: features (P, D), scores (P, K) and its classes."""
        drawn = torch.randperm(len(features), generator=self.generator)[: self.each].to(features.device)
        self.kept.append((features[drawn].half(), scores[drawn].float(), list(classes)))
        self._bytes += self.kept[-1][0].nbytes
        if self._bytes > BUDGET and self.each > 1:
            self.each //= 2
            self.kept = [(found[: self.each].clone(), s[: self.each].clone(), c) for found, s, c in self.kept]
            self._bytes = sum(found.nbytes for found, _, _ in self.kept)
