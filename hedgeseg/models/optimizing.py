"""Optimizer and schedule of a network whose last layers are new: these learn faster than what knows much already."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

_POLY = 0.9  # power of the poly decay


def at_two_speeds(
    module: LightningModule,
    fast: Iterable[nn.Parameter],
    *,
    lr: float,
    factor: float,
    weight_decay: float,
    kind: Literal["adamw", "sgd"] = "adamw",
) -> OptimizerLRScheduler:
    """What `configure_optimizers` returns, over the whole training.

    Args:
        module: attached to its trainer; parameters that need no gradient are left out.
        fast: parameters that learn faster.
        lr: largest learning rate of the others.
        factor: how many times as fast.
        weight_decay: of the optimizer.
        kind: "adamw" under a one-cycle schedule, or "sgd" under the poly decay.
    """
    faster = set(fast)
    learnt = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        ([parameter for parameter in learnt if parameter not in faster], lr),
        ([parameter for parameter in learnt if parameter in faster], lr * factor),
    ]
    parts = [{"params": parameters, "lr": rate} for parameters, rate in groups if parameters]
    steps = int(module.trainer.estimated_stepping_batches)
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    if kind == "sgd":
        optimizer = torch.optim.SGD(parts, weight_decay=weight_decay)
        schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=steps, power=_POLY)
    else:
        optimizer = torch.optim.AdamW(parts, weight_decay=weight_decay)
        rates = [rate for parameters, rate in groups if parameters]
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rates, total_steps=steps)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
