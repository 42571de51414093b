"""Copies of a model whose layers have been randomised, for sanity checks of attribution.

Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018. Weights are drawn Xavier-uniform and biases uniform
in [0, 1], as the paper's authors do. Normalisation layers keep their affine parameters and running statistics: only
layers with a weight of two or more dimensions (convolution, linear, attention) are randomised.

The model itself is never touched, and neither is the global random state.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from hedgeseg.metrics.map_metric import ordinary_tensors

__all__ = ["Order", "check_order", "randomizable_layers", "randomize_all", "randomized_models"]

Order: TypeAlias = Literal["cascading", "independent", "bottom_up"]
"""cascading: from the logits down, each layer on top of the last; bottom_up: the same from the lowest layer up, so that
no layer keeps its trained input; independent: one layer at a time, the others as trained."""


def randomizable_layers(model: nn.Module) -> list[str]:
    """Names of the layers that can be randomised, the logits' layer first (the reverse of their registration).

    Raises:
        ValueError: if there is none.
    """
    layers = [
        name
        for name, module in model.named_modules()
        if any(weight.ndim >= 2 and weight.is_floating_point() for weight in module.parameters(recurse=False))
    ]
    if not layers:
        raise ValueError(f"{type(model).__name__} has no layer with a weight of two or more dimensions to randomise")
    return layers[::-1]


def randomized_models(
    model: nn.Module, layers: Sequence[str] | None = None, order: Order = "cascading", seed: int = 0
) -> Iterator[tuple[str, nn.Module]]:
    """Yield (layer, copy of the model) with that layer randomised, from the logits down or from the image up.

    Args:
        model: never changed; copied once. The copy is changed in place from one item to the next.
        layers: the layers to stop at, in any order; None for all. In a cascade the layers between them are randomised
            too.
        order: "cascading" keeps the layers above randomised, "bottom_up" those below, "independent" restores them.
        seed: of the drawn parameters; a layer gets the same values in any order and whatever the other layers are.

    Raises:
        ValueError: if a layer cannot be randomised or the order is unknown.
    """
    known = randomizable_layers(model)
    chosen = known if layers is None else list(layers)
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise ValueError(f"layer {unknown[0]!r} cannot be randomised; choose among {', '.join(known)}")
    check_order(order)
    with ordinary_tensors():
        twin = copy.deepcopy(model)
    seeds = {name: seed * len(known) + index for index, name in enumerate(known)}
    for name in reversed(known) if order == "bottom_up" else known:
        if order == "independent" and name not in chosen:
            continue
        module = twin.get_submodule(name)
        kept = [weight.detach().clone() for weight in module.parameters(recurse=False)]
        _randomize(module, torch.Generator().manual_seed(seeds[name]))
        if name in chosen:
            yield name, twin
        if order == "independent":
            _write(module, kept)


def check_order(order: str) -> None:
    """Refuse an unknown order.

    Raises:
        ValueError: names the known ones.
    """
    if order not in get_args(Order):
        raise ValueError(f"order must be one of {', '.join(map(repr, get_args(Order)))}, got {order!r}")


def randomize_all(model: nn.Module, seed: int = 0) -> nn.Module:
    """Return a copy of the model with all randomisable layers randomised, the end of the cascade."""
    lowest = randomizable_layers(model)[-1]
    return next(twin for _, twin in randomized_models(model, [lowest], "cascading", seed))


def _randomize(module: nn.Module, generator: torch.Generator) -> None:
    drawn = []
    for weight in module.parameters(recurse=False):
        # On the CPU, so that a seed means the same model on every device.
        uniform = torch.rand(weight.shape, generator=generator)
        if weight.ndim >= 2:
            fans = (weight.shape[0] + weight.shape[1]) * weight[0, 0].numel()
            uniform = (2 * uniform - 1) * math.sqrt(6 / fans)
        drawn.append(uniform)
    _write(module, drawn)


def _write(module: nn.Module, values: Sequence[Tensor]) -> None:
    with ordinary_tensors():
        for weight, value in zip(module.parameters(recurse=False), values, strict=True):
            weight.copy_(value)
