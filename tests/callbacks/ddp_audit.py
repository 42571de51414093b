"""Audits on two processes and on one into folders of their own: `ddp_audit.py FOLDER`."""

import sys

import torch
from callback_scenes import Classifier, Scenes, small_network
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from hedgeseg.callbacks import DatasetAudit


def audit(folder, devices):
    torch.manual_seed(0)
    trainer = Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp_fork" if devices > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[DatasetAudit(folder)],
    )
    # An odd number: a distributed loader fills up with an image that the other process has too.
    data = DataLoader(Scenes(33), batch_size=4)
    trainer.validate(Classifier(small_network()), data, verbose=False)


if __name__ == "__main__":
    torch.set_num_threads(1)
    # Two first: a process that has computed cannot be forked safely.
    audit(f"{sys.argv[1]}/two", 2)
    audit(f"{sys.argv[1]}/one", 1)
