"""An audit by two processes, and one that was killed: the result is that of one process left alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("sklearn")
pytestmark = pytest.mark.skipif(os.name == "nt" or not hasattr(os, "fork"), reason="needs fork")
HERE = Path(__file__).parent


def run(script, folder):
    paths = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, str(HERE / script), str(folder)], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def result(folder):
    return json.loads((folder / "audit.json").read_text())


def same(first, second):
    """Whether two results differ by rounding alone: images are explained in other batches."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return first == pytest.approx(second, abs=1e-3) if isinstance(first, float) else first == second


def members(found):
    return sorted((cluster["class"], cluster["flagged"], sorted(cluster["images"])) for cluster in found["clusters"])


@pytest.mark.skipif(not torch.distributed.is_available(), reason="needs gloo")
def test_two_processes_find_what_one_finds(tmp_path):
    run("ddp_audit.py", tmp_path)
    one, two = result(tmp_path / "one"), result(tmp_path / "two")
    assert len({image["id"] for image in two["images"]}) == 33
    assert same(one["overall"], two["overall"])
    assert same(one["classes"], two["classes"])
    rows = [{(image["id"], image["class"]): image for image in found["images"]} for found in (one, two)]
    assert same(*rows)
    members = [
        sorted((c["class"], c["flagged"], sorted(c["images"])) for c in found["clusters"]) for found in (one, two)
    ]
    assert members[0] == members[1]
    assert (tmp_path / "two" / "audit.html").is_file()


def test_a_killed_audit_goes_on_to_the_same_end(tmp_path):
    killed, after, whole = json.loads(run("killed_audit.py", tmp_path).splitlines()[-1])
    assert 0 < killed < whole == after == 20
    assert result(tmp_path / "killed") == result(tmp_path / "whole")
    assert not list((tmp_path / "killed").rglob(".*"))
