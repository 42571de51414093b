"""Trains on two processes with and without the callback, and prints what came out as JSON. Run by test_ddp.py."""

import json
import sys

import torch
from callback_scenes import Classifier, loader, small_network
from lightning.pytorch import Callback, Trainer, seed_everything

from hedgeseg.callbacks import HedgeCallback, SeedWriter


class FailsOnRankOne(Callback):
    """Breaks the explanations of one process only: the other must not wait for it."""

    def __init__(self, callback):
        self.callback = callback

    def on_fit_start(self, trainer, pl_module):
        if trainer.global_rank == 1:

            def fails(*args, **kwargs):
                raise RuntimeError("only here")

            self.callback.explainer.function = fails


def train(folder, callbacks):
    seed_everything(3, verbose=False)
    module = Classifier(small_network(dropout=0.3))
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=2,
        strategy="ddp_fork",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=callbacks,
    )
    trainer.fit(module, loader(16, shuffle=True), loader(8))
    weights = [float(p.detach().double().sum()) for p in module.parameters()]
    return trainer, module, {"weights": weights, "metrics": {k: float(v) for k, v in trainer.callback_metrics.items()}}


if __name__ == "__main__":
    folder = sys.argv[1]
    torch.set_num_threads(1)
    *_, without = train(f"{folder}/without", [])
    callback = HedgeCallback(max_images=2, on_error="raise", max_fraction=None)
    trainer, module, watched = train(f"{folder}/watched", [callback])
    lame = HedgeCallback(max_images=2, max_fraction=None)
    *_, failing = train(f"{folder}/failing", [lame, FailsOnRankOne(lame)])
    writer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp_fork",
        logger=False,
        enable_progress_bar=False,
        default_root_dir=folder,
        callbacks=[SeedWriter(f"{folder}/seeds", on_error="raise")],
    )
    writer.predict(module, loader(7), return_predictions=False)
    print("RESULT" + json.dumps({"without": without, "watched": watched, "failing": failing}))
