"""Hooks that only watch a network see its training, not our looks."""

import copy
import importlib

import pytest
import torch
from callback_scenes import Classifier, loader, small_network
from lightning.pytorch.loggers import WandbLogger

from hedgeseg.callbacks import HedgeCallback
from hedgeseg.callbacks.observers import unobserved


def hook_of(module_name, seen):
    def hook(module, inputs, output):
        seen.append(module_name)

    hook.__module__ = module_name
    return hook


def test_hooks_that_watch_are_off_and_come_back_in_their_place():
    network, seen = small_network(), []
    for name in ("mine", "wandb.integration.torch.wandb_torch", "mine.too", "wandbox"):
        network.register_forward_hook(hook_of(name, seen))
    before = list(network._forward_hooks.items())
    x = torch.zeros(1, 3, 8, 8)

    def fails():
        with unobserved(network):
            network(x)
            copy.deepcopy(network)(x)
            handles.append(network.register_forward_hook(hook_of("added", seen)))
            raise KeyError("as a network may")

    handles = []
    with pytest.raises(KeyError):
        fails()
    assert seen == ["mine", "mine.too", "wandbox"] * 2
    assert list(network._forward_hooks.items())[:4] == before
    handles[0].remove()
    assert list(network._forward_hooks.items()) == before


def test_wandb_watch_sees_the_training_only(make_trainer, tmp_path, monkeypatch):
    """It logs every weight once for each forward of the module: none of ours, and never a random twin's."""
    wandb = pytest.importorskip("wandb")
    history = importlib.import_module("wandb.integration.torch.wandb_torch").TorchHistory
    logged = []
    monkeypatch.setattr(history, "log_tensor_stats", lambda self, tensor, name: logged.append(name))
    logger = WandbLogger(project="test", save_dir=tmp_path, mode="offline")
    module = Counted()
    logger.watch(module, log="parameters", log_freq=1)
    callback = HedgeCallback(on_error="raise", max_fraction=None, sanity_every_n_epochs=1)
    make_trainer(logger=logger, callbacks=[callback]).fit(module, loader(4, 2, size=16), loader(4, 2, size=16))
    logger.experiment.unwatch(module)
    wandb.finish()
    assert module.steps == 2 + 2 * (2 + 2)
    assert len(logged) == module.steps * len(list(module.parameters()))


class Counted(Classifier):
    """Counts its steps."""

    steps = 0

    def training_step(self, batch, batch_idx):
        self.steps += 1
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        self.steps += 1
        super().validation_step(batch, batch_idx)
