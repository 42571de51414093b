"""Networks by name, torchvision's and the project's own, with weights by name or from a file and a fitting head."""

import difflib
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from torch import nn

from hedgeseg.models.small_cnn import SmallCNN

_OWN = {"small_cnn": SmallCNN}
_TIMM = "timm/"
_PREFIXES = ("network.", "module.", "_orig_mod.")
_NAMED = 5


def build_network(arch: str, num_outputs: int, weights: str | None = None) -> nn.Module:
    """Builds a classification network with `num_outputs` logits.

    Weights whose head has another width are loaded with their own head, which is then replaced by a fresh one: a
    warning says so. Auxiliary heads (Inception-v3, GoogLeNet) are left out: only the main logits are trained and
    explained.

    Args:
        arch: name of a torchvision classification architecture, "timm/<name>" with the extra `timm`, or "small_cnn".
        num_outputs: number of logits.
        weights: torchvision's name of a set of weights ("DEFAULT", "IMAGENET1K_V1"), or the path of a state dict or a
            Lightning checkpoint. None initialises at random.

    Raises:
        ValueError: unknown architecture, or weights that do not fit it (names the missing, unexpected and misshapen
            entries).
        ImportError: a timm architecture without timm.
        FileNotFoundError: `weights` is neither one of torchvision's names nor a file.
        ConnectionError: torchvision's weights could not be downloaded.

    Example:
        >>> build_network("resnet18", 5)(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 5])
    """
    _check_name(arch)
    if weights is None:
        return _make(arch, num_outputs)
    state = read_state(arch, weights)
    with torch.device("meta"):
        head = head_name(_make(arch, num_outputs))
    width = len(state[f"{head}.weight"]) if f"{head}.weight" in state else num_outputs
    network = _make(arch, width)
    _load(network, state, arch, weights)
    if width != num_outputs:
        warnings.warn(
            f"{weights} gives {width} logits instead of {num_outputs}: its head {head!r} becomes an untrained one",
            stacklevel=2,
        )
        replace_head(network, num_outputs)
    return network


def read_state(arch: str, weights: str) -> dict[str, torch.Tensor]:
    """Reads a state dict by torchvision's name or from a file, without running code that the file may hold."""
    named = _named_weights(arch)
    if weights in named:
        try:
            return dict(named[weights].get_state_dict(progress=True, check_hash=True))
        except (URLError, OSError, RuntimeError) as error:
            url = named[weights].url
            raise ConnectionError(
                f"the weights {weights} of {arch} could not be downloaded ({error}). Fetch {url} by hand and give its "
                f"path, or put it into {os.path.join(torch.hub.get_dir(), 'checkpoints')}"
            ) from error
    path = Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"weights {weights!r}: no such file, and {arch} knows only the names {sorted(named)}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch.load raises depends on what the file is instead
        raise ValueError(f"{path} could not be read as a state dict with weights_only=True: {error}") from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{path} holds {type(state).__name__}, not a state dict (names -> tensors)")
    return {_bare(name): value for name, value in state.items()}


def head_name(network: nn.Module) -> str:
    """Name of the layer that gives the logits: the last linear layer, or the last convolution where there is none."""
    for kind in (nn.Linear, nn.Conv2d):
        names = [name for name, module in network.named_modules() if isinstance(module, kind)]
        if names:
            return names[-1]
    raise ValueError(f"{type(network).__name__} has no linear layer and no convolution to serve as its head")


def replace_head(network: nn.Module, num_outputs: int) -> None:
    """Puts an untrained layer with `num_outputs` logits in place of the head."""
    name = head_name(network)
    parent_name, _, last = name.rpartition(".")
    old: Any = network.get_submodule(name)
    if isinstance(old, nn.Linear):
        new: nn.Module = nn.Linear(old.in_features, num_outputs, bias=old.bias is not None)
    else:
        new = nn.Conv2d(
            old.in_channels, num_outputs, old.kernel_size, old.stride, old.padding, bias=old.bias is not None
        )
    setattr(network.get_submodule(parent_name), last, new)


def rectified_head(network: nn.Module) -> str | None:
    """Name of a ReLU that comes right after the head, as in SqueezeNet: its logits cannot be negative."""
    head = head_name(network)
    parent = head.rpartition(".")[0]
    if not isinstance(network.get_submodule(parent), nn.Sequential):
        return None
    names = [f"{parent}.{name}".removeprefix(".") for name, _ in network.get_submodule(parent).named_children()]
    following = names[names.index(head) + 1 :][:1]
    return next((name for name in following if isinstance(network.get_submodule(name), nn.ReLU)), None)


def _check_name(arch: str) -> None:
    if arch.startswith(_TIMM):
        timm = _timm(arch)
        if not timm.is_model(arch.removeprefix(_TIMM)):
            near = timm.list_models(f"*{arch.removeprefix(_TIMM)[:6]}*")[:_NAMED]
            raise ValueError(f"unknown architecture {arch!r} in timm {timm.__version__}; near are {near}")
        return
    known = [*_OWN, *torchvision.models.list_models(module=torchvision.models)]
    if arch not in known:
        near = difflib.get_close_matches(arch, known, n=_NAMED, cutoff=0.5)
        hint = f"nearest: {', '.join(near)}" if near else f"known are {', '.join(known)}"
        raise ValueError(f"unknown architecture {arch!r}; {hint}, and timm/<name>")


def _make(arch: str, num_outputs: int) -> nn.Module:
    if arch in _OWN:
        return _OWN[arch](num_outputs)
    if arch.startswith(_TIMM):
        return _timm(arch).create_model(arch.removeprefix(_TIMM), pretrained=False, num_classes=num_outputs)
    options: dict[str, Any] = {}
    if arch in ("inception_v3", "googlenet"):
        options = {"aux_logits": False, "transform_input": False, "init_weights": False}
    return torchvision.models.get_model(arch, weights=None, num_classes=num_outputs, **options)


def _named_weights(arch: str) -> Mapping[str, Any]:
    """Torchvision's weights of an architecture by name; timm's and the project's own networks take files alone."""
    if arch in _OWN or arch.startswith(_TIMM):
        return {}
    return torchvision.models.get_model_weights(arch).__members__


def _timm(arch: str) -> Any:
    try:
        import timm
    except ImportError as error:
        raise ImportError(f"{arch!r} needs timm: pip install 'hedgeseg[timm]'") from error
    return timm


def _load(network: nn.Module, state: dict[str, torch.Tensor], arch: str, weights: str) -> None:
    wanted = network.state_dict()
    # state dicts from before torch 0.4.1 lack the counters of batch norm, which nothing reads
    missing = [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [
        name for name in state if name not in wanted and not name.startswith(("AuxLogits.", "aux1.", "aux2."))
    ]
    misshapen = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in state and state[name].shape != value.shape
    ]
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    if any(faults.values()):
        told = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in faults.items() if names)
        raise ValueError(f"{weights} does not fit {arch}: {told}. Is it the state dict of another architecture?")
    network.load_state_dict({name: value for name, value in state.items() if name in wanted}, strict=False)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _bare(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.split(".", 1)[1]
    # torchvision's DenseNet files still write "norm.1" for what the module calls "norm1"
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)
