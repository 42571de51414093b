"""`hedgeseg describe` as it is called."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hedgeseg.cli import main

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@pytest.fixture
def zoo(tmp_path):
    for name in (
        "zoo/cat/a.png",
        "zoo/cat/b.png",
        "zoo/dog/c.png",
        "masks/cat/a.png",
        "masks/cat/b.png",
        "masks/dog/c.png",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.startswith("zoo"):
            Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(path)
        else:
            Image.fromarray(np.full((20, 30), 1 + ("dog" in name), np.uint8)).save(path)
    return tmp_path / "zoo"


def test_counts_and_sheets_of_a_configuration(zoo, tmp_path, capsys):
    options = ["--data.root", str(zoo), "--data.train_fraction=0.4", "--data.num_workers", "0"]
    assert main(["describe", "--config", str(CONFIGS / "folder.yaml"), "--out", str(tmp_path / "out"), *options]) == 0
    out = capsys.readouterr().out
    assert "FolderDataModule, train: 2 images, 2 classes" in out
    assert "FolderDataModule, predict: 3 images, 2 classes" in out
    assert "masks: 3 of 3 images; 0.0% of their pixels void" in out
    for split in ("train", "val", "predict"):
        assert Image.open(tmp_path / "out" / f"{split}.png").mode == "RGB"


def test_broken_files_are_counted(zoo, tmp_path, capsys):
    (zoo / "cat" / "b.png").write_bytes(b"no image")
    options = ["--data.root", str(zoo), "--data.train_fraction", "0.5", "--out", str(tmp_path / "out")]
    with pytest.warns(UserWarning, match="2 of 3 images used"):
        assert main(["describe", "--data", "FolderDataModule", "--split", "val", *options]) == 0
    assert "on loading, all splits: 2 of 3 images used; 1 unreadable: b.png" in capsys.readouterr().out


def test_a_data_module_by_name_and_one_split(zoo, tmp_path, capsys):
    options = ["--data.root", str(zoo), "--data.train_fraction", "0"]
    command = [
        "describe",
        "--data",
        "FolderDataModule",
        "--split",
        "val",
        "--transformed",
        "--out",
        str(tmp_path / "o"),
    ]
    assert main([*command, *options]) == 0
    assert "val: 3 images" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["val.png"]
    assert main([*command[:3], "--split", "train", *options]) == 2
    assert "no such split" in capsys.readouterr().err


def test_calls_that_fit_nothing(zoo, tmp_path, capsys):
    assert main(["describe"]) == 2
    assert "give --config FILE or --data CLASS" in capsys.readouterr().err
    assert main(["describe", "--data", "FolderDataModule", "--data.rot", str(zoo)]) == 2
    assert "rot" in capsys.readouterr().err
    assert main(["describe", "--data", "FolderDataModule", "--data.root", str(tmp_path / "nowhere")]) == 1
    assert "nowhere not found" in capsys.readouterr().err
    (tmp_path / "odd.yaml").write_text(json.dumps({"model": 1}))
    assert main(["describe", "--config", str(tmp_path / "odd.yaml")]) == 2
    assert "no `data` in it" in capsys.readouterr().err
    assert main(["describe", "--config", str(tmp_path / "gone.yaml")]) == 1
    with pytest.raises(SystemExit):
        main(["methods", "--data.root", "x"])
    assert "unrecognized arguments: --data.root" in capsys.readouterr().err
