"""Killed at any moment and run again: the same files, bit for bit."""

import json
import os
from pathlib import Path

import pytest
from processes import run_script

HERE = Path(__file__).parent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_runs_leave_the_files_of_an_uninterrupted_one(tmp_path):
    done = run_script([HERE / "killed_runs.py", tmp_path, 3, 40], tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    left = json.loads(done.stdout.splitlines()[-1])
    assert all(0 < seeds < 40 for seeds in left[:-1])
    assert left[-1] == 40
    killed, whole = (
        {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        for folder in (tmp_path / "killed", tmp_path / "whole")
    )
    assert len(whole) == 81  # two of each image, and the manifest
    assert killed == whole  # no temporary file either
