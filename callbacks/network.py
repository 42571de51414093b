"""Which part of a LightningModule is the network to explain."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch import LightningModule
from torch import nn

MORE_INPUTS = (
    "an explanation is one of the images alone: write a small nn.Module that takes images and supplies the other "
    "inputs itself, make it a child of the LightningModule, and name it with network="
)


def find_network(module: LightningModule, name: str | None = None) -> nn.Module:
    """The module that turns images into logits.

    The LightningModule itself if it has a `forward` that can be called with the images alone, else its only child with
    parameters: the two styles Lightning code is written in.

    Args:
        module: the user's module.
        name: dotted path of the network inside it, for modules where neither holds.

    Raises:
        ValueError: a name that does not exist, no unambiguous network, or one that needs more than images; lists what
            there is.
    """
    if name is not None:
        try:
            return module.get_submodule(name)
        except AttributeError as error:
            names = [child for child, _ in module.named_children()]
            raise ValueError(f"{type(module).__name__} has no submodule {name!r}; its children are {names}") from error
    if _has_forward(module) and len(_inputs(module)) <= 1:
        return module
    children = _candidates(module)
    if len(children) == 1:
        network = next(iter(children.values()))
        if len(_inputs(network)) > 1:
            raise ValueError(f"{type(network).__name__}.forward takes {_inputs(network)}, and {MORE_INPUTS}")
        return network
    if _has_forward(module):
        raise ValueError(
            f"{type(module).__name__}.forward takes {_inputs(module)}, and {MORE_INPUTS}. If one of its children "
            f"{sorted(children)} is the whole network, name that one"
        )
    raise ValueError(
        f"{type(module).__name__} has no forward(images), and of its children {sorted(children)} "
        f"{'none' if not children else 'more than one'} could be the network; name it with network="
    )


@contextmanager
def calling(network: nn.Module) -> Iterator[None]:
    """Call a network with images alone, and say what to do if it wants something else.

    Raises:
        ValueError: the call failed in a way that a wrong input does.
    """
    try:
        yield
    except (TypeError, IndexError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{type(network).__name__} cannot be called with the images alone, a float tensor (B, C, H, W): "
            f"{type(error).__name__}: {error}. If it takes a whole batch, name the part of it that turns images into "
            f"logits with network= (its children with parameters: {sorted(_candidates(network))}); if it takes other "
            f"inputs beside the images: {MORE_INPUTS}"
        ) from error


def _candidates(module: nn.Module) -> dict[str, nn.Module]:
    return {n: child for n, child in module.named_children() if any(True for _ in child.parameters())}


def _has_forward(module: nn.Module) -> bool:
    return _owner(module) not in (LightningModule, nn.Module)


def _owner(module: nn.Module) -> type:
    return next(cls for cls in type(module).__mro__ if "forward" in vars(cls))


def _inputs(module: nn.Module) -> list[str]:
    """Names of what its `forward` needs."""
    return [
        p.name
        for p in list(inspect.signature(vars(_owner(module))["forward"]).parameters.values())[1:]
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
