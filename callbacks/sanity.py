"""The randomisation sanity check on watched images: does a map depend on what the network has learned?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hedgeseg.attribution.explaining import explaining
from hedgeseg.callbacks.explanations import Explainer
from hedgeseg.callbacks.scores import Finding
from hedgeseg.metrics import RandomizationSanity
from hedgeseg.metrics.model_randomization import randomizable_layers

IMAGES, LAYERS = 2, 6
NAMES = ("sanity_spearman", "sanity_efficient_mprt")


def sanity(
    network: nn.Module, explainer: Explainer, findings: Sequence[Finding], device: torch.device
) -> dict[str, list[float]]:
    """Randomise a copy of the network from the logits down and compare the maps.

    A few images and layers, spread from top to bottom, are enough for what the check can say: pass or fail.

    Returns:
        One-element lists, empty where nothing was found: `sanity_spearman`, near 0 for a map that depends on the
        network, and `sanity_efficient_mprt`, above 0 for a pass.
    """
    columns: dict[str, list[float]] = {name: [] for name in NAMES}
    if not findings:
        return columns
    shape = findings[0].explanation.example.image.shape
    chosen = [f.explanation for f in findings if f.explanation.example.image.shape == shape][:IMAGES]

    def explain(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        return explainer.attribute(model, images, [[int(t)] for t in targets]).maps[:, 0]

    known = randomizable_layers(network)
    spread = known[:: -(-len(known) // LAYERS)]
    with explaining(network):
        metric = RandomizationSanity(network, explain, layers=spread, sync_on_compute=False).to(device)
        images = torch.stack([e.example.image for e in chosen]).to(device)
        maps = torch.stack([e.maps[0] for e in chosen]).to(device)
        metric.update(images, torch.tensor([e.classes[0] for e in chosen]), maps)
        result = metric.compute()
    columns["sanity_spearman"].append(float(result["randomization_sanity"]))
    columns["sanity_efficient_mprt"].append(float(result["randomization_sanity_efficient_mprt"]))
    return columns
