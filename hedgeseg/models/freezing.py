"""Keeping parts of a network as they are while the rest is trained."""

from collections.abc import Sequence
from difflib import get_close_matches

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def frozen_modules(network: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """Stops the gradient of the named modules' parameters and returns the modules.

    Their batch norms must also be kept in evaluation mode, which a caller does whenever it switches to training.

    Args:
        network: holds the modules.
        names: names of modules as `named_modules` gives them, such as "features.0" or "layer1".

    Raises:
        ValueError: an unknown name (lists the nearest ones).
    """
    known = dict(network.named_modules())
    for name in names:
        if not name or name not in known:
            near = get_close_matches(name, known, n=5, cutoff=0.3)
            raise ValueError(f"cannot freeze {name!r}: the network has no such module; near are {near}")
    modules = [known[name] for name in names]
    for module in modules:
        module.requires_grad_(False)
    return modules


def batch_norms(network: nn.Module) -> list[nn.Module]:
    """The batch norms of a network."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def has_folded_norms(network: nn.Module) -> bool:
    """Whether every batch norm has mean 0 and variance 1 as statistics although there is something to normalise.

    So it is where their statistics were folded into the convolutions, as conversions from other frameworks do: such a
    network is right in evaluation, but statistics of a batch, which training would use, destroy what it knows.
    """
    norms = [norm for norm in batch_norms(network) if norm.running_mean is not None and norm.running_var is not None]
    return bool(norms) and all(
        not bool(norm.running_mean.any()) and bool((norm.running_var == 1).all())  # type: ignore[union-attr, operator]
        for norm in norms
    )
