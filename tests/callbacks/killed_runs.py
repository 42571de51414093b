"""Fills a folder with seeds in processes that are killed at random moments: `killed_runs.py FOLDER KILLS COUNT`.

The processes are forked after the imports, so that a run costs a moment. Prints, as JSON, how many seeds each left.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from callback_scenes import Classifier, Scenes
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from hedgeseg.callbacks import SeedWriter


def fill(folder, count):
    """One run of `trainer.predict`."""
    torch.manual_seed(0)
    writer = SeedWriter(folder, {"flip": True, "refine": "guided"}, on_error="raise")
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", callbacks=[writer], **quiet)
    trainer.predict(Classifier(), DataLoader(Scenes(count), batch_size=4), return_predictions=False)


def forked(folder, count, enough=None):
    """A run in a process of its own; killed once there are `enough` seeds and a random moment has passed."""
    process = os.fork()
    if process == 0:
        fill(folder, count)
        os._exit(0)
    while enough is not None and seeds(folder) < enough:
        time.sleep(0.001)
    if enough is not None:
        time.sleep(random.random() * 0.03)
        os.kill(process, signal.SIGKILL)
    status = os.waitpid(process, 0)[1]
    assert (status == 0) == (enough is None), status
    return seeds(folder)


def seeds(folder):
    return len(list(Path(folder).glob("*.png")))


if __name__ == "__main__":
    folder, kills, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    left = [forked(f"{folder}/killed", count, (i + 1) * count // (kills + 2)) for i in range(kills)]
    left.append(forked(f"{folder}/killed", count))
    forked(f"{folder}/whole", count)
    print(json.dumps(left))
