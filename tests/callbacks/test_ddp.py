"""Two processes: the same training, metrics over both, one run on disk."""

import json
import os
from pathlib import Path

import pytest
import torch
from processes import run_script

from hedgeseg.seeds import read_seed

pytestmark = pytest.mark.skipif(not torch.distributed.is_available() or os.name == "nt", reason="needs gloo and fork")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ddp")
    script = Path(__file__).with_name("ddp_training.py")
    done = run_script([script, folder], folder, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    [line] = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    return folder, json.loads(line.removeprefix("RESULT"))


def test_training_is_what_it_was(result):
    _, runs = result
    assert runs["watched"]["weights"] == runs["without"]["weights"]


def test_metrics_are_over_both_processes(result):
    _, runs = result
    assert runs["watched"]["metrics"]["hedge/images"] == 4
    assert "hedge/pointing_game" in runs["watched"]["metrics"]


def test_rank_zero_writes(result):
    folder, _ = result
    looks = sorted((folder / "watched" / "hedge").glob("epoch_*"))
    assert len(looks) == 2
    assert all(len(list(look.glob("*.png"))) == 2 for look in looks)


def test_a_process_that_fails_does_not_hold_up_the_other(result):
    _, runs = result
    assert runs["failing"]["weights"] == runs["without"]["weights"]
    assert runs["failing"]["metrics"]["hedge/images"] == 2


def test_seeds_of_all_images_whatever_process_made_them(result):
    folder, _ = result
    assert {p.stem for p in (folder / "seeds").glob("*.png")} == {f"scene_{i}" for i in range(7)}
    assert read_seed(folder / "seeds", "scene_6").size == (32, 32)
