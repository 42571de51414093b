"""`trainer.test` with the Evaluation callback: tables on disk, and no harm to the network."""

import csv
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from processes import run_script

from hedgeseg.callbacks import Evaluation
from hedgeseg.callbacks.batches import read_batch
from hedgeseg.callbacks.evaluation import image_position, turns
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


@pytest.mark.skipif(not torch.distributed.is_available() or os.name == "nt", reason="needs gloo and fork")
def test_two_processes_write_the_tables_of_one(tmp_path):
    script = Path(__file__).with_name("ddp_evaluation.py")
    done = run_script([script, tmp_path], tmp_path, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((tmp_path / "two" / "images").glob("hedge-*.jsonl"))) == 2
    for table in ("results.csv", "comparisons.csv"):
        one, two = (rows(tmp_path / folder / table) for folder in ("one", "two"))
        assert len(one) == len(two) > 10
        for expected, found in zip(one, two, strict=True):
            for left, right in zip(expected, found, strict=True):
                try:
                    assert float(right) == pytest.approx(float(left), abs=1e-5)
                except ValueError:
                    assert right == left
    counts = {(method, value): int(n) for method, value, *_, n in rows(tmp_path / "one" / "results.csv")[1:]}
    every = counts["hedge", "pixel_average_precision"]
    assert counts["random", "pixel_average_precision"] < every
    assert counts["hedge", "insertion"] < every


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.reader(file))


def test_the_place_of_an_image_is_what_its_batch_or_its_loader_says():
    first, second = read_batch({"image": torch.zeros(2, 3, 4, 4), "label": [1, 1]}, "")
    trainer = SimpleNamespace(world_size=2, global_rank=1)
    assert image_position(first, 0, trainer, range(5)) == 1
    assert image_position(second, 1, trainer, range(5)) == 3
    assert image_position(second, 2, trainer, range(5)) == 0  # the loader began anew
    assert image_position(second, 2, trainer, iter(())) == 5
    (named,) = read_batch({"image": torch.zeros(1, 3, 4, 4), "label": [1], "index": torch.tensor([7])}, "")
    assert image_position(named, 0, trainer, range(9)) == 7


def test_images_take_turns_in_an_order_that_is_drawn_once_for_all():
    state = torch.get_rng_state()
    drawn = turns(range(50))
    assert sorted(drawn) == list(range(50))
    assert drawn != list(range(50))
    assert drawn == turns(range(50))
    assert torch.equal(torch.get_rng_state(), state)
    assert turns(iter(())) is None
