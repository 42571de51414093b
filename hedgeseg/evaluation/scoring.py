"""The metrics of one image's maps, as a protocol asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hedgeseg.evaluation.case import Case
from hedgeseg.evaluation.journal import Record
from hedgeseg.evaluation.pooled import POOLED
from hedgeseg.evaluation.protocol import Protocol
from hedgeseg.metrics import (
    ClassDiscrimination,
    RandomizationSanity,
    pointing_hits,
    positive_ratios,
    probability_curves,
    randomizable_layers,
    smoothed,
    spearman,
    target_pairs,
    top_overlap,
)
from hedgeseg.metrics.canvas import IMAGENET_MEAN, IMAGENET_STD
from hedgeseg.metrics.evaluation import LOCALISERS, Localiser
from hedgeseg.metrics.randomization_sanity import Explain
from hedgeseg.metrics.region_insertion import FRACTIONS, inserted_answers
from hedgeseg.metrics.seed_curve import seed_histogram

__all__ = ["Network", "score_case"]


@dataclass(frozen=True, eq=False)
class Network:
    """What metrics that ask the network need.

    Attributes:
        module: images to logits.
        explain: the method, for the randomised copies.
        mean: what the images were normalised with.
        std: likewise.
    """

    module: nn.Module
    explain: Explain
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD


def score_case(
    case: Case, maps: Tensor, seconds: float, protocol: Protocol, num_classes: int, network: Network
) -> Record:
    """Score the maps of one image.

    Args:
        case: the image, its masks on the maps' device.
        maps: float (T, H, W), finite.
        seconds: it took to make them.
        protocol: which metrics, with which settings.
        num_classes: of the data.
        network: for the metrics that ask it.
    """
    wanted = set(protocol.metrics)
    values = _localisation(case, maps, protocol)
    curves: dict[str, Tensor] = {}
    if protocol.perturbs(case.turn):
        perturbed, curves = _perturbation(case, maps, protocol, network)
        values |= perturbed
    if protocol.randomizes(case.turn):
        checked, layers = _sanity(case, maps, protocol, network)
        values, curves = values | checked, curves | layers
    return Record(
        id=case.id,
        classes=case.classes,
        seconds=seconds,
        values={name: row.tolist() for name, row in values.items()},
        curves={name: rows.tolist() for name, rows in curves.items()},
        pairs=_discrimination(maps) if "class_discrimination" in wanted else {},
        seed=_seed(case, maps, protocol, num_classes) if "seed_curve" in wanted else ((), ()),
        pooled={name: metric.note(case, maps) for name, metric in POOLED.items() if name in wanted},
    )


def _localisation(case: Case, maps: Tensor, protocol: Protocol) -> dict[str, Tensor]:
    valid = case.valid.expand_as(case.masks)
    scorers: dict[str, Localiser] = {
        "pointing_game": lambda *_: _pointing(case, maps, protocol.tolerance),
        "pixel_average_precision": LOCALISERS["pixel_average_precision"],
        "outside_inside_ratio": LOCALISERS["outside_inside_ratio"],
        "positive_ratio": lambda *_: {"positive_ratio": positive_ratios(maps, valid)},
        "rank_accuracy": LOCALISERS["rank_accuracy"],
    }
    values: dict[str, Tensor] = {}
    for name, scorer in scorers.items():
        if name in protocol.metrics:
            values |= scorer(maps, case.masks, valid)
    return values


def _pointing(case: Case, maps: Tensor, tolerance: float) -> dict[str, Tensor]:
    objects = case.masks if case.original is None else case.original
    valid = case.valid if case.original is None else case.original_valid
    hits = pointing_hits(maps, objects, tolerance, None if valid is None else valid.expand_as(objects))
    values = {"pointing_game": hits}
    hard, known = case.difficult, case.predicted
    if hard is not None:
        values["pointing_game_difficult"] = hits.masked_fill(~hard.to(hits.device), torch.nan)
    if known is not None:
        values["pointing_game_predicted"] = hits.masked_fill(~known.to(hits.device), torch.nan)
    if hard is not None and known is not None:
        values["pointing_game_difficult_predicted"] = hits.masked_fill(~(hard & known).to(hits.device), torch.nan)
    return values


def _perturbation(
    case: Case, maps: Tensor, protocol: Protocol, network: Network
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    images = case.image.to(maps.device).expand(len(maps), *case.image.shape)
    values: dict[str, Tensor] = {}
    curves: dict[str, Tensor] = {}
    colours = (network.mean, network.std)
    if "region_insertion" in protocol.metrics:
        answers = inserted_answers(
            network.module, images, maps, case.targets, (*FRACTIONS, 1.0, 0.0), protocol.canvas, *colours
        )
        for name, answer in zip(("region_insertion", "region_insertion_probability"), answers, strict=True):
            curves[name] = answer[:-2].T.float()
            values[name] = curves[name].mean(1)
            values[f"{name}_clean"], values[f"{name}_canvas"] = answer[-2].float(), answer[-1].float()
    if "deletion" in protocol.metrics:
        curves["deletion"] = probability_curves(
            network.module, images, maps, case.targets, "deletion", "mean", protocol.steps, *colours
        )
    if "insertion" in protocol.metrics:
        curves["insertion"] = probability_curves(
            network.module, images, maps, case.targets, "insertion", "blur", protocol.steps, *colours
        )
    for name in [name for name in curves if name not in values]:
        values[name] = torch.trapezoid(curves[name], dx=1 / protocol.steps)
    return values, curves


def _sanity(
    case: Case, maps: Tensor, protocol: Protocol, network: Network
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The randomisation check of the first map; the others are NaN."""
    smooth = protocol.randomized_samples > 1
    explain = smoothed(network.explain, protocol.randomized_samples) if smooth else network.explain
    layers = spread_layers(network.module, protocol)
    # One image's values: what other processes score is not to be mixed in.
    metric = RandomizationSanity(network.module, explain, protocol.randomized_order, layers, sync_on_compute=False).to(
        maps.device
    )
    image, target = case.image[None].to(maps.device), torch.tensor(case.targets[:1])
    metric.update(image, target, None if smooth else maps[:1])
    result = metric.compute()
    values, curves = {}, {}
    for name in ("randomization_sanity", "randomization_sanity_efficient_mprt"):
        values[name] = torch.full((len(maps),), torch.nan)
        values[name][0] = result[name]
    for name in ("spearman", "spearman_abs", "ssim"):
        curve = result[f"randomization_sanity_{name}"]
        curves[f"randomization_sanity_{name}"] = torch.full((len(maps), len(curve)), torch.nan)
        curves[f"randomization_sanity_{name}"][0] = curve
    return values, curves


def spread_layers(module: nn.Module, protocol: Protocol) -> list[str]:
    """The layers after which maps are compared: evenly spread in the order of randomisation, with the last of all."""
    known = randomizable_layers(module)
    if protocol.randomized_order == "bottom_up":
        known = known[::-1]
    last, count = len(known) - 1, min(protocol.randomized_layers, len(known))
    return [known[last - round(i * last / max(1, count - 1))] for i in range(count)][::-1]


def _discrimination(maps: Tensor) -> dict[str, list[float]]:
    first, second = target_pairs(maps[None])
    alike = (1 - spearman(first, second)).tolist() if len(first) else []
    overlap = top_overlap(first, second).tolist() if len(first) else []
    headline, companion = ClassDiscrimination.value_names
    return {headline: alike, companion: overlap}


def _seed(case: Case, maps: Tensor, protocol: Protocol, num_classes: int) -> tuple[list[int], list[int]]:
    """The seed's histogram: positive relevance, each map relative to its maximum."""
    if case.truth is None:
        return [], []
    positive = maps.clamp(min=0)
    peaks = positive.flatten(1).amax(1).clamp(min=torch.finfo(maps.dtype).tiny).view(-1, 1, 1)
    classes = torch.tensor([case.classes], device=maps.device)
    truth = case.truth.to(maps.device)[None]
    cells = seed_histogram((positive / peaks)[None], classes, truth, num_classes, protocol.seed_bins).flatten()
    filled = cells.nonzero()[:, 0]
    return filled.tolist(), cells[filled].tolist()
