"""The same work by two processes and by one, for the scripts `ddp_*.py`, which `test_*.py` start."""

import sys

import torch
from lightning.pytorch import Trainer


def trainer(folder, devices, callback):
    """A quiet trainer of so many processes."""
    return Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp_fork" if devices > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[callback],
    )


def both(work):
    """Call `work(folder, devices)` for FOLDER/two and FOLDER/one, of the command line."""
    torch.set_num_threads(1)
    for name, devices in (("two", 2), ("one", 1)):  # two first: a process that has computed cannot be forked safely
        torch.manual_seed(0)
        work(f"{sys.argv[1]}/{name}", devices)
