"""Fills a folder with evidence in a process that is killed half-way, then again: `killed_audit.py FOLDER`."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch
from callback_scenes import Classifier, Scenes, small_network
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from hedgeseg.callbacks import DatasetAudit


def audit(folder):
    torch.manual_seed(0)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", callbacks=[DatasetAudit(str(folder))], enable_checkpointing=False, **quiet)
    trainer.validate(Classifier(small_network()), DataLoader(Scenes(40), batch_size=2), verbose=False)


def files(folder):
    return len(list((folder / "evidence").glob("[!.]*.npz")))


def forked(folder, enough=None):
    """A run in a process of its own; killed once there are `enough` files."""
    process = os.fork()
    if process == 0:
        audit(folder)
        os._exit(0)
    if enough is not None:
        while files(folder) < enough:
            time.sleep(0.001)
        os.kill(process, signal.SIGKILL)
    assert (os.waitpid(process, 0)[1] == 0) == (enough is None)
    return files(folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = Path(sys.argv[1])
    print(json.dumps([forked(root / "killed", 3), forked(root / "killed"), forked(root / "whole")]))
