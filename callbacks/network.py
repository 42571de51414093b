"""Which part of a LightningModule is the network to explain."""

from __future__ import annotations

import inspect

from lightning.pytorch import LightningModule
from torch import nn


def find_network(module: LightningModule, name: str | None = None) -> nn.Module:
    """The module that turns images into logits.

    The LightningModule itself if it has a `forward` that can be called with the images alone, else its only child with
    parameters: the two styles Lightning code is written in.

    Args:
        module: the user's module.
        name: dotted path of the network inside it, for modules where neither holds.

    Raises:
        ValueError: a name that does not exist, or no unambiguous network; lists what there is.
    """
    if name is not None:
        try:
            return module.get_submodule(name)
        except AttributeError as error:
            names = [child for child, _ in module.named_children()]
            raise ValueError(f"{type(module).__name__} has no submodule {name!r}; its children are {names}") from error
    if _takes_images_alone(module):
        return module
    children = {n: child for n, child in module.named_children() if any(True for _ in child.parameters())}
    if len(children) == 1:
        return next(iter(children.values()))
    raise ValueError(
        f"{type(module).__name__} has no forward(images), and of its children {sorted(children)} "
        f"{'none' if not children else 'more than one'} could be the network; name it with network="
    )


def _takes_images_alone(module: LightningModule) -> bool:
    own = next(cls for cls in type(module).__mro__ if "forward" in vars(cls))
    if own in (LightningModule, nn.Module):
        return False
    needed = [
        p
        for p in list(inspect.signature(vars(own)["forward"]).parameters.values())[1:]
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    return len(needed) <= 1
