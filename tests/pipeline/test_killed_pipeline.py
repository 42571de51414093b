"""Killed at three moments and resumed, a pipeline ends with the files of one that was left alone."""

import json
from pathlib import Path

import torch
from pipeline_scenes import write_settings, write_table
from processes import run_script

SCRIPT = Path(__file__).with_name("killed_pipeline.py")


def contents(out):
    """Bytes of masks and scores, tensors of weights, and the result without its times."""
    found = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.suffix in (".png", ".npz")}
    result = json.loads((out / "pipeline.json").read_text())
    del result["seconds"]
    weights = {
        stage: torch.load(out / stage / "weights.ckpt", weights_only=True)["state_dict"]
        for stage in ("classifier", "segmenter")
    }
    return found, result, weights


def test_the_same_files(tmp_path):
    root = write_table(tmp_path / "data")
    settings = write_settings(root / "settings.yaml")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    done = run_script([SCRIPT, root, whole, cut, settings], tmp_path, timeout=550)
    assert done.returncode == 0, f"{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
    alone, resumed = contents(whole), contents(cut)
    assert alone[0] == resumed[0]
    assert len(alone[0]) == 14 * 5
    assert alone[1] == resumed[1]
    for stage, state in alone[2].items():
        assert all(torch.equal(value, resumed[2][stage][name]) for name, value in state.items())
