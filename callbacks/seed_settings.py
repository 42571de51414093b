"""What decides a folder of seeds beside the generator and the weights: images and logits.

A change in any of these changes the seeds, so a folder remembers them and refuses a mix.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from lightning.pytorch import Trainer
from torch import nn

from hedgeseg.callbacks import trainer_context

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def data_settings(trainer: Trainer) -> dict[str, Any]:
    """Size, fit, normalisation and pipeline of the images that are predicted, as far as the data tell them."""
    datamodule = getattr(trainer, "datamodule", None)
    found: dict[str, Any] = {}
    for name in ("image_size", "fit", "mean", "std"):
        value = getattr(datamodule, name, None)
        if value is not None:
            found[name] = list(value) if isinstance(value, list | tuple) else str(value)
    pipelines = [_described(getattr(dataset, "transform", None)) for dataset in trainer_context.datasets(trainer)]
    return {**found, "transform": pipelines}


def network_settings(network: nn.Module) -> dict[str, Any]:
    """What a network computes with its weights: its layers (a hash of their description), and how logits are pooled."""
    own = [m for m in network.modules() if type(m).__module__.startswith("hedgeseg.") and m.extra_repr()]
    return {
        "layers": hashlib.sha256(_described(network).encode()).hexdigest(),
        "logits": [f"{type(m).__name__}({m.extra_repr()})" for m in own],
    }


def _described(thing: Any) -> str:
    return _ADDRESS.sub("", repr(thing))
