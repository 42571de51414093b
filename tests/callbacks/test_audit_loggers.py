"""What Weights & Biases (offline) and TensorBoard got of an audit, read back from disk."""

import io
import json

import numpy as np
import pytest
import torch
from callback_scenes import CLASSES, Classifier, loader, small_network
from lightning.pytorch import Trainer
from logged_runs import logged_run
from PIL import Image

from hedgeseg.callbacks import DatasetAudit

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An audit of ten images with one bound crossed: its folder, the files of the run and wandb's records."""
    folder = tmp_path_factory.mktemp("run")
    with logged_run(folder) as logged:
        torch.manual_seed(0)
        audit = DatasetAudit(str(folder / "audit"), alerts={"mirror": 2.0, "border": 1.0})
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
        trainer = Trainer(accelerator="cpu", logger=logged.loggers, callbacks=[audit], **quiet)
        with pytest.warns(UserWarning, match="mirror"):
            trainer.validate(Classifier(small_network()), loader(10), verbose=False)
    return folder, logged.files, logged.records


def read_table(files, name):
    [path] = files.glob(f"media/table/audit/{name}_*.table.json")
    return json.loads(path.read_text())


def test_a_row_per_explanation_with_its_numbers(run):
    folder, files, _ = run
    table = read_table(files, "images")
    result = json.loads((folder / "audit" / "audit.json").read_text())
    assert len(table["data"]) == len(result["images"])
    wanted = {"image", "id", "split", "class", "probability", "correct", "cluster", "flagged", "reasons"}
    assert wanted | {"border", "centre", "mirror", "pointing", "removal_drop", "control_drop"} <= set(table["columns"])
    for row, expected in zip(table["data"], result["images"], strict=True):
        cells = dict(zip(table["columns"], row, strict=True))
        assert cells["id"] == expected["id"]
        assert cells["class"] == expected["class"]
        assert cells["mirror"] == pytest.approx(expected["mirror"], abs=1e-5)
        assert cells["reasons"] == "; ".join(expected["reasons"])


def test_every_row_has_its_picture(run):
    folder, _, records = run
    artifacts = [record["artifact"] for record in records if record["type"] == "artifact"]
    [table] = [artifact for artifact in artifacts if "auditimages" in artifact["name"]]
    pictures = [entry for entry in table["manifest"]["contents"] if not entry["path"].endswith(".json")]
    result = json.loads((folder / "audit" / "audit.json").read_text())
    assert len(pictures) == len(result["images"])
    assert all(int(picture["size"]) > 500 for picture in pictures)


def test_bars_have_one_per_class(run):
    _, files, _ = run
    for name in ("accuracy", "mirror", "pointing"):
        [path] = files.glob(f"media/table/audit/{name}_table_*.table.json")
        table = json.loads(path.read_text())
        assert table["columns"] == ["class", name]
        assert {row[0] for row in table["data"]} == set(CLASSES)


def test_one_alert_names_the_bound_that_was_crossed(run):
    _, _, records = run
    alerts = [record["alert"] for record in records if record["type"] == "alert"]
    assert len(alerts) == 1
    assert alerts[0]["text"].startswith("mirror is")
    assert "border" not in alerts[0]["text"]


def test_the_summary_has_the_means(run):
    folder, _, records = run
    summary = {}
    for record in records:
        summary |= record["summary"].get("update", {}) if record["type"] == "summary" else {}
    assert summary["audit/flagged"] == 0
    result = json.loads((folder / "audit" / "audit.json").read_text())
    assert summary["audit/mirror"] == pytest.approx(result["overall"]["mirror"], abs=1e-5)


def test_tensorboard_has_the_images_to_look_at_first(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, *_ = run
    events = EventAccumulator(str(folder / "tb" / "version_0"), {"images": 0})
    events.Reload()
    [tag] = events.Tags()["images"]
    assert tag == "audit/first_to_look_at"
    sheet = np.asarray(Image.open(io.BytesIO(events.Images(tag)[0].encoded_image_string)))
    assert sheet.shape[0] > 200
    assert sheet.std() > 5
