"""`trainer.test` with the Evaluation callback: tables on disk, and no harm to the network."""

import json

import torch
from lightning.pytorch import Trainer

from hedgeseg.callbacks import Evaluation
from hedgeseg.data import ShapesDataModule
from hedgeseg.evaluation import Protocol
from hedgeseg.models import Classifier


def test_a_test_run_writes_the_tables(tmp_path):
    torch.manual_seed(0)
    model = Classifier(6)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    data = ShapesDataModule(num_train=2, num_val=4, num_predict=2, image_size=32, batch_size=2)
    evaluation = Evaluation(str(tmp_path / "out"), ["hedge", "grad_cam"], Protocol(seed_bins=8), plots=False)
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        default_root_dir=str(tmp_path), callbacks=[evaluation],
    )  # fmt: skip
    trainer.test(model, datamodule=data)
    result = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert [method["label"] for method in result["methods"]] == ["hedge", "grad_cam"]
    assert result["methods"][0]["images"] == 4
    assert result["comparisons"][0]["first"] == "hedge"
    assert "test/map" in trainer.callback_metrics
    for name, value in model.state_dict().items():
        if name.startswith("network"):
            assert torch.equal(value, before[name])
