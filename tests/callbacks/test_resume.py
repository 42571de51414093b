"""A run killed in the middle and resumed goes on with the same images and the same animation."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

SCRIPT = """
import sys
from callback_scenes import Classifier, loader
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from hedgeseg.callbacks import HedgeCallback

trainer = Trainer(
    max_epochs=int(sys.argv[1]), accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
    callbacks=[
        HedgeCallback(on_error="raise", max_images=2, max_fraction=None, animation=True),
        ModelCheckpoint("checkpoints", save_last=True, every_n_epochs=1, enable_version_counter=False),
    ],
)
last = sys.argv[2] if len(sys.argv) > 2 else None
trainer.fit(Classifier(), loader(8, shuffle=True), loader(8, shuffle=True), ckpt_path=last, weights_only=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_and_resumed(tmp_path):
    (tmp_path / "main.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    last = tmp_path / "checkpoints" / "last.ckpt"

    process = subprocess.Popen([sys.executable, "main.py", "100000"], cwd=tmp_path, env=environment)
    deadline = time.monotonic() + 120
    while not (last.is_file() and len(list(tmp_path.glob("hedge/epoch_*"))) >= 3):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()

    checkpoint = torch.load(last, weights_only=True)
    epoch = checkpoint["epoch"]
    [state] = [s for key, s in checkpoint["callbacks"].items() if key.startswith("HedgeCallback")]
    watched = state["watched"]["0"]
    assert len(watched) == 2
    subprocess.run(
        [sys.executable, "main.py", str(epoch + 3), str(last)], cwd=tmp_path, env=environment, check=True, timeout=120
    )
    looks = sorted(tmp_path.glob("hedge/epoch_*"))[-2:]
    for look in looks:
        assert [p.stem[4:] for p in sorted(look.glob("*.png"))] == watched
    assert len(list(tmp_path.glob("hedge/animations/*.gif"))) == 2
