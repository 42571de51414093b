"""Looks at images and writes down what the network's view of each rests on."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from hedgeseg import visual
from hedgeseg.attribution import attribute
from hedgeseg.attribution.api import unwrap
from hedgeseg.attribution.contributions import contributions
from hedgeseg.attribution.explaining import explaining
from hedgeseg.attribution.recording import select_logits
from hedgeseg.audit.evidence import Evidence, Half
from hedgeseg.audit.measures import placement, pooled_maps
from hedgeseg.audit.places import PLACES, strongest
from hedgeseg.audit.profile import Profile, profile
from hedgeseg.audit.removal import control_region, evidence_region, paint_over
from hedgeseg.audit.view import stages_of, view
from hedgeseg.metrics import outside_inside_ratios, pointing_hits, positive_ratios, spearman
from hedgeseg.seeds.stage_maps import Stage
from hedgeseg.visual import Picture

TOLERANCE = 15 / 375
"""The pointing game's 15 px on the 375 px short side of a VOC image, as a share of the short side."""

THUMBNAIL = 112
"""Height in pixels of the pictures that are kept."""

EVIDENCE = 2
"""Which evidence is kept; folders of another number are not mixed with."""

AT_ONCE = 32
"""Painted images that go through the network together."""


@dataclass(frozen=True, eq=False)
class Subject:
    """An image to look at.

    Attributes:
        id: its name.
        image: float (C, H, W), as the network takes it, on the CPU.
        classes: indices of the classes to explain.
        exclusive: whether an image has exactly one class, so that probabilities are a softmax.
        regions: bool (T, H, W), where each class's object is; None if that is not known. An empty region is unknown.
        valid: bool (H, W), pixels that count; None for all.
        picture: uint8 (H, W, 3) for a thumbnail; None for none.
    """

    id: str
    image: Tensor
    classes: tuple[int, ...]
    exclusive: bool
    regions: Tensor | None = None
    valid: Tensor | None = None
    picture: Picture | None = None


class Auditor:
    """Explains images and measures the explanations.

    Args:
        method: name of the attribution method.
        mirror: also explain the mirrored image, to see whether the maps agree; as much work again.
        removal: also paint the evidence over and look at the probability; five forward passes per class.
        options: of `attribute`: layer, chunk, output and the method's own.
    """

    def __init__(
        self, method: str = "hedge", mirror: bool = True, removal: bool = True, options: Mapping[str, Any] | None = None
    ) -> None:
        self.method = method
        self.mirror = mirror
        self.removal = removal
        self.options = dict(options or {})
        self._stages: tuple[nn.Module, list[Stage]] | None = None

    def config(self) -> dict[str, Any]:
        """What decides the evidence beside network and images, as JSON holds it."""
        chosen = {"method": self.method, "mirror": self.mirror, "removal": self.removal, "options": self.options}
        return {**chosen, "evidence": EVIDENCE}

    @torch.no_grad()
    def __call__(
        self, network: nn.Module, subjects: Sequence[Subject], split: str, device: torch.device
    ) -> list[Evidence]:
        """Look at images of one shape.

        Args:
            network: images to logits.
            subjects: each with at least one class.
            split: of the data they are of.
            device: the network's.

        Raises:
            ValueError: an image with NaN, or whatever else `attribute` refuses.
        """
        images = torch.stack([subject.image for subject in subjects]).to(device)
        targets = [list(subject.classes) for subject in subjects]
        result = attribute(network, images, targets, method=self.method, **self.options)
        output, binary = self.options.get("output"), bool(self.options.get("binary", True))
        logits = result.logits
        mirrored = None
        if self.mirror:
            mirrored = attribute(network, images.flip(-1), targets, method=self.method, **self.options).maps.flip(-1)
        found = [result.maps[row, : len(subject.classes)].float() for row, subject in enumerate(subjects)]
        before = [_probabilities(row, subject) for row, subject in zip(logits, subjects, strict=True)]
        grids = [pooled_maps(maps).half().cpu() for maps in found]
        dropped: list[dict[str, Tensor]] = [{}] * len(subjects)
        at_places = [torch.full((len(maps), PLACES), math.nan) for maps in found]
        if self.removal:
            dropped, at_places = _removal(network, images, found, grids, before, subjects, output)
        evidence = []
        for row, subject in enumerate(subjects):
            count, maps, probabilities = len(subject.classes), found[row], before[row]
            numbers = {**placement(maps), "positive_ratio": positive_ratios(maps), **_against_truth(maps, subject)}
            if mirrored is not None:
                numbers["mirror"] = spearman(pooled_maps(maps), pooled_maps(mirrored[row, :count].float()))
            numbers.update(dropped[row])
            counts = contributions(network, images[row : row + 1], targets[row], output, binary).float()
            seen = self._view(network, images[row]).half().cpu().numpy()
            kept = (grids[row].numpy(), seen, at_places[row].half().numpy())
            evidence += _entries(subject, split, maps, probabilities, numbers, profile(counts, maps), *kept)
        return evidence

    def _view(self, network: nn.Module, image: Tensor) -> Tensor:
        seen = unwrap(network)
        with explaining(seen):
            if self._stages is None or self._stages[0] is not seen:
                self._stages = seen, stages_of(seen, image)
            return view(seen, image, self._stages[1])


def _entries(
    subject: Subject,
    split: str,
    maps: Tensor,
    probabilities: Tensor,
    numbers: Mapping[str, Tensor],
    seen: Profile,
    small: Half,
    everywhere: Half,
    drops: Half,
) -> list[Evidence]:
    mean, peaks = (part.half().cpu().numpy() for part in (seen.mean, seen.peaks))
    likeliest = int(probabilities.argmax())
    return [
        Evidence(
            id=subject.id,
            split=split,
            class_index=index,
            probability=float(probabilities[index]),
            correct=likeliest == index if subject.exclusive else bool(probabilities[index] > 0.5),
            map=small[row],
            mean=mean[row],
            peaks=peaks[row],
            view=everywhere,
            drops=drops[row],
            numbers={name: float(values[row]) for name, values in numbers.items()},
            thumbnail=b"" if subject.picture is None else thumbnail(subject.picture, maps[row]),
        )
        for row, index in enumerate(subject.classes)
    ]


def thumbnail(picture: Picture, relevance: Tensor) -> bytes:
    """An image beside its overlay, as a small JPEG file."""
    drawn = visual.side_by_side([picture, visual.overlay(picture, relevance)])
    height = min(THUMBNAIL, drawn.shape[0])
    width = max(1, round(drawn.shape[1] * height / drawn.shape[0]))
    buffer = io.BytesIO()
    Image.fromarray(drawn).resize((width, height), Image.Resampling.BOX).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _probabilities(logits: Tensor, subject: Subject) -> Tensor:
    logits = logits.detach().float().cpu()
    if len(logits) == 1:  # its sign tells two classes apart
        return torch.cat([-logits, logits]).sigmoid()
    return logits.softmax(-1) if subject.exclusive else logits.sigmoid()


def _against_truth(maps: Tensor, subject: Subject) -> dict[str, Tensor]:
    if subject.regions is None:
        return {}
    regions = subject.regions.to(maps.device)
    known = regions.flatten(1).any(1)
    unknown = maps.new_full((len(maps),), math.nan)
    if not known.any():
        return {}
    valid = None if subject.valid is None else subject.valid.to(maps.device).expand_as(regions)
    side = min(maps.shape[-2:])
    ratios = outside_inside_ratios(maps, regions, valid)["outside_inside_ratio"]
    hits = pointing_hits(maps, regions, TOLERANCE * side, valid)
    return {
        "pointing": torch.where(known, hits.to(maps.dtype), unknown),
        "outside_inside": torch.where(known, ratios.to(maps.dtype), unknown),
    }


def _removal(
    network: nn.Module,
    images: Tensor,
    maps: Sequence[Tensor],
    grids: Sequence[Tensor],
    before: Sequence[Tensor],
    subjects: Sequence[Subject],
    output: Any,
) -> tuple[list[dict[str, Tensor]], list[Tensor]]:
    """For each image the drops of its classes' probabilities without their evidence, and without a like region.

    And (T, P) without the evidence at each of their strongest places, NaN where there are fewer.
    """
    painted, places = [], []
    for image, of_image, small in zip(images, maps, grids, strict=True):
        for relevance, grid in zip(of_image.cpu(), small, strict=True):
            region = evidence_region(relevance)
            regions = [region, control_region(region, relevance)]
            cells = strongest(grid.numpy())
            for cell in cells.tolist():
                row, column = divmod(cell, grid.shape[1])
                (height, width), (rows, columns) = relevance.shape, grid.shape
                regions.append(
                    evidence_region(relevance, ((row + 0.5) / rows * height, (column + 0.5) / columns * width))
                )
            painted += [paint_over(image, region) for region in regions]
            places.append(len(cells))
    parts = []
    with explaining(network):
        for start in range(0, len(painted), AT_ONCE):
            part = torch.stack(painted[start : start + AT_ONCE])
            parts.append(select_logits(network(part), len(part), output))
    left, counts = iter(torch.cat(parts)), iter(places)
    dropped, at_places = [], []
    for subject, probabilities in zip(subjects, before, strict=True):
        drops = torch.full((len(subject.classes), 2 + PLACES), math.nan)
        for row, index in enumerate(subject.classes):
            for k in range(2 + next(counts)):
                drops[row, k] = probabilities[index] - _probabilities(next(left), subject)[index]
        dropped.append({"removal_drop": drops[:, 0], "control_drop": drops[:, 1]})
        at_places.append(drops[:, 2:])
    return dropped, at_places
