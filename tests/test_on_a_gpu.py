"""The script for a new GPU, in its small version on a CPU."""

import sys

import pytest
from documents import ROOT


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import on_a_gpu

    return on_a_gpu


def test_the_small_version_passes_on_a_cpu(script, monkeypatch, capsys, tmp_path):
    argv = ["on_a_gpu.py", "--device", "cpu", "--small", "--rounds", "1", "--shared", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", argv)
    assert script.main() == 0
    told = capsys.readouterr().out
    assert "| reference maps, alexnet | not here | - |" in told
    assert "| training with the callback | the same to the bit | good |" in told
    assert "0 checks failed" in told
    rows = [line.split("|") for line in told.splitlines() if line.startswith("| resnet18 | fp32")]
    assert [row[3].strip() for row in rows] == ["1", "2"]
    assert all(0 < float(row[7].strip().rstrip("%")) <= 200 for row in rows)


def test_a_check_that_fails_is_told(script, monkeypatch):
    import device_checks
    import torch
    from torch import nn

    class OfTheBatch(nn.Module):
        """Wrong on purpose: every image is divided by what the whole batch is."""

    found = {1: torch.ones(1, 1, 4, 4), 3: torch.arange(48.0).reshape(3, 1, 4, 4)}

    class Answer:
        def __init__(self, maps):
            self.maps = maps

    monkeypatch.setattr(device_checks, "attribute", lambda network, images, targets: Answer(found[len(images)]))
    assert device_checks.batch_independence(OfTheBatch(), torch.zeros(3, 3, 4, 4)).passed is False
