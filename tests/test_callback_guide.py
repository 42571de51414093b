"""The snippets and commands of docs/callback.md, with a small module and data in place of one's own."""

import json
import os
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest
import torch
from callback_scenes import Classifier, Scenes, small_network
from documents import commands, run_python
from torch.utils.data import DataLoader

PAGE = "docs/callback.md"
WANDB = Path(sys.executable).with_name("wandb")

# The commands of the page -> what is run of it: itself, or its help where it needs a terminal or an account.
COMMANDS = {
    "wandb leet runs/first/wandb": "wandb leet --help",
    "wandb leet inspect --summary runs/first/wandb/latest-run": None,
    "wandb leet inspect --json runs/first/wandb/latest-run": None,
    "wandb sync --dry-run runs/first/wandb/latest-run": None,
    "wandb sync runs/first/wandb/latest-run": "wandb sync --help",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the page's snippets were run."""
    folder, data = tmp_path_factory.mktemp("guide"), DataLoader(Scenes(8), batch_size=4)
    pytest.importorskip("wandb").teardown()  # its service resolves a relative save_dir where it was started
    names = {"YourModule": Classifier, "train_loader": data, "val_loader": data}
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_SILENT", "true")
        patch.setenv("WANDB_MODE", "offline")  # WandbLogger(offline=True) sets it for the whole process
        run_python(PAGE, {**names, "model": small_network(), "images": torch.randn(1, 3, 32, 32)})
    return folder


def test_the_files_of_the_table_are_written(folder):
    looks = sorted((folder / "runs" / "first" / "hedge").glob("epoch_00?_step_0000??"))
    assert len(looks) == 3
    for look in looks:
        assert list(look.glob("000_*.png"))
        assert (look / "sheet.jpg").is_file()
        assert json.loads((look / "look.json").read_text())["metrics"]["hedge/images"] >= 1
    assert list((folder / "runs" / "first" / "hedge" / "images").glob("*.png"))
    assert list((folder / "runs" / "first" / "wandb").glob("offline-run-*/run-*.wandb"))


def test_every_command_is_known():
    assert commands(PAGE) == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(folder, command):
    words = (COMMANDS[command] or command).split()[1:]
    environment = {**os.environ, "WANDB_MODE": "offline"}
    done = subprocess.run(
        [WANDB, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    if "inspect" in command:
        for key in ("hedge/panels", "hedge/overlays", "hedge/maps", "hedge/positive_ratio"):
            assert key in done.stdout
