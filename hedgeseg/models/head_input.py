"""What the head of a classifier is given: all that is left to know of an image when everything before it is frozen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from hedgeseg.models.architectures import head_name

_TRIAL = 225  # pixels of a side


def learnt_head(network: nn.Module) -> str | None:
    """Name of the child that the head is in, where nothing else is learnt and it is the network's last step.

    None where more is learnt, or where the logits are not simply what this child answers.
    """
    name = head_name(network).partition(".")[0]
    head = dict(network.named_children()).get(name)
    learnt = [key for key, value in network.named_parameters() if value.requires_grad]
    if head is None or not learnt or not all(key.startswith(f"{name}.") for key in learnt):
        return None
    device = next(network.parameters()).device
    try:
        with evaluating(network), torch.no_grad():
            given, logits = _watched(network, head, torch.zeros(1, 3, _TRIAL, _TRIAL, device=device))
            same = torch.equal(head(given), logits)
    except (RuntimeError, ValueError, AssertionError):  # a network of one input size, or a head that is not called
        return None
    return name if same else None


def head_input(network: nn.Module, name: str, images: torch.Tensor) -> torch.Tensor:
    """What the child `name` is given for images (N, 3, H, W), in evaluation."""
    with evaluating(network):
        return _watched(network, network.get_submodule(name), images)[0]


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Every module in evaluation, and afterwards in the mode it was in."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _watched(network: nn.Module, head: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the head is given, and what the network answers."""
    given: list[torch.Tensor] = []
    handle = head.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    try:
        logits = network(images)
    finally:
        handle.remove()
    if len(given) != 1:
        raise ValueError(f"the head was called {len(given)} times")
    return given[0], logits
