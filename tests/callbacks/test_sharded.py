"""Strategies under which no process holds the network are refused by name, before anything is set up."""

from types import SimpleNamespace

import pytest
import torch
from callback_scenes import Classifier, loader
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy

from hedgeseg.callbacks import DatasetAudit, Evaluation, HedgeCallback, SeedWriter


def strategy(kind, **attributes):
    """An instance without what its constructor needs: a machine with accelerators, or a package."""
    made = kind.__new__(kind)
    made.__dict__.update(attributes)
    return made


SHARDED = [
    strategy(FSDPStrategy),
    strategy(ModelParallelStrategy),
    strategy(DeepSpeedStrategy, config={"zero_optimization": {"stage": 3}}),
]
WHOLE = [strategy(DDPStrategy), strategy(DeepSpeedStrategy, config={"zero_optimization": {"stage": 2}})]


def callbacks(tmp_path):
    return [
        HedgeCallback(),
        SeedWriter(str(tmp_path)),
        Evaluation(str(tmp_path), ["hedge"]),
        DatasetAudit(str(tmp_path)),
    ]


@pytest.mark.parametrize("kind", SHARDED, ids=lambda s: type(s).__name__)
def test_sharded(tmp_path, kind):
    trainer = SimpleNamespace(strategy=kind, callbacks=[])
    for callback in callbacks(tmp_path):
        message = f"{type(callback).__name__} cannot explain a network under {type(kind).__name__}: .*strategy='ddp'"
        with pytest.raises(ValueError, match=message):
            callback.setup(trainer, Classifier(), "test")


@pytest.mark.parametrize("kind", WHOLE, ids=lambda s: type(s).__name__)
def test_replicated(tmp_path, kind):
    trainer = SimpleNamespace(strategy=kind, callbacks=[], is_global_zero=True)
    for callback in callbacks(tmp_path)[:-1]:  # an audit goes on to look for data
        callback.setup(trainer, Classifier(), "test")


def test_in_a_trainer(make_trainer):
    module = Classifier()
    trainer = make_trainer(callbacks=[HedgeCallback()], strategy=ModelParallelStrategy(), devices=1)
    try:
        with pytest.raises(ValueError, match="ModelParallelStrategy"):
            trainer.fit(module, loader(2), loader(2))
    finally:
        torch.distributed.destroy_process_group()
    assert module.losses == []
