"""A folder of seeds in Weights & Biases: what an offline run holds of it, and what the report says."""

import json

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import WandbLogger
from PIL import Image

from hedgeseg.callbacks import SeedWriter
from hedgeseg.callbacks.folder_tracking import chosen
from hedgeseg.data import ShapesDataModule
from hedgeseg.models import Classifier
from hedgeseg.seeds.report import write_report
from hedgeseg.seeds.tracked import tracked


@pytest.fixture
def filled(make_trainer, tmp_path):
    wandb = pytest.importorskip("wandb")
    torch.manual_seed(0)
    data = ShapesDataModule(num_train=2, num_val=2, num_predict=5, batch_size=2, image_size=32)
    logger = WandbLogger(project="p", save_dir=tmp_path, offline=True)
    folder = tmp_path / "seeds"
    writer = SeedWriter(str(folder), {"method": "grad_cam"}, log_samples=3, artifact=True, on_error="raise")
    trainer = make_trainer(callbacks=[writer], logger=logger)
    trainer.predict(Classifier(data.num_classes), datamodule=data, return_predictions=False)
    wandb.finish()
    return folder, data


def test_the_table_the_masks_and_the_artifact_are_in_the_run(filled, tmp_path):
    folder, data = filled
    found = tracked(folder)
    assert found["table"] == "seeds/seeds"
    assert found["artifact"].startswith("seeds-seeds")
    assert "url" not in found  # offline
    [run] = tmp_path.glob("wandb/offline-run-*")
    [table] = run.glob("files/media/table/**/*.json")
    content = json.loads(table.read_text())
    assert content["columns"] == ["id", "image", "classes"]
    assert [row[0] for row in content["data"]] == chosen(sorted(data.predict_dataset.ids), 3)
    assert len(list(run.glob("files/media/images/seeds/seeds/images_*.png"))) == 3
    drawn = sorted(run.glob("files/media/images/mask/**/*.mask.png"))
    assert len(drawn) == 6
    log = next(run.glob("run-*.wandb")).read_bytes()
    assert b"ground_truth" in log
    masks = [np.asarray(Image.open(path).convert("L")) for path in drawn]
    for name in chosen(sorted(data.predict_dataset.ids), 3):
        true = data.predict_dataset.mask(data.predict_dataset.ids.index(name))
        for wanted in (true, np.asarray(Image.open(folder / f"{name}.png"))):
            assert any(np.array_equal(mask, wanted) for mask in masks)
    assert b"seeds-seeds" in log  # the artifact
    assert json.loads((folder / "manifest.json").read_text())["digest"].encode() in log  # its metadata


def test_the_report_says_where_it_is(filled, tmp_path):
    folder, data = filled
    page = write_report(tmp_path / "r.html", folder, data.predict_dataset, detection=False, crf=False).read_text()
    assert f"run <code>{tracked(folder)['run']}</code>, offline in" in page
    (folder / "wandb.json").write_text('{"run": "abc", "url": "https://wandb.ai/me/p/runs/abc"}')
    page = write_report(tmp_path / "r.html", folder, data.predict_dataset, detection=False, crf=False).read_text()
    assert '<a href="https://wandb.ai/me/p/runs/abc">abc</a>' in page


def test_without_a_logger_it_is_said(make_trainer, tmp_path):
    data = ShapesDataModule(num_train=2, num_val=2, num_predict=2, batch_size=2, image_size=32)
    writer = SeedWriter(str(tmp_path / "s"), {"method": "grad_cam"}, log_samples=1, on_error="raise")
    with pytest.warns(UserWarning, match="the trainer has no WandbLogger"):
        make_trainer(callbacks=[writer]).predict(Classifier(data.num_classes), datamodule=data)
    assert tracked(tmp_path / "s") == {}
