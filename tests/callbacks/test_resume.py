"""A run killed in the middle and resumed goes on with the same images and the same animation."""

import os
import time

import pytest
import torch
from processes import Script, run_script

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
    last = tmp_path / "checkpoints" / "last.ckpt"

    process = Script(["main.py", 100000], tmp_path).process
    deadline = time.monotonic() + 120
    while not (last.is_file() and len(list(tmp_path.glob("hedge/epoch_*"))) >= 3):
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.join()

    checkpoint = torch.load(last, weights_only=True)
    epoch = checkpoint["epoch"]
    [state] = [s for key, s in checkpoint["callbacks"].items() if key.startswith("HedgeCallback")]
    watched = state["watched"]["0"]
    assert len(watched) == 2
    done = run_script(["main.py", epoch + 3, last], tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    looks = sorted(tmp_path.glob("hedge/epoch_*"))[-2:]
    for look in looks:
        assert [p.stem[4:] for p in sorted(look.glob("*.png"))] == watched
    assert len(list(tmp_path.glob("hedge/animations/*.gif"))) == 2
