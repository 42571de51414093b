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
    assert "give a folder, or --config FILE or --data CLASS" in capsys.readouterr().err
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


def said(capsys, *words):
    code = main(["describe", *words])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_a_folder_alone_is_told_with_the_commands_to_go_on_with(tmp_path, capsys):
    for number, name in enumerate(("crack/a", "crack/b", "dent/c", "dent/d", "good/e", "good/f")):
        path = tmp_path / "tiles" / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30, 3), 30 * number, np.uint8)).save(path)
    mask = np.zeros((20, 30), np.uint8)
    mask[5:9] = 255
    (tmp_path / "tiles" / "masks" / "crack").mkdir(parents=True)
    Image.fromarray(mask).save(tmp_path / "tiles" / "masks" / "crack" / "a.png")
    root, out = str(tmp_path / "tiles"), str(tmp_path / "out")
    code, text = said(capsys, root, "--out", out)
    assert code == 0
    assert "class folders, read by FolderDataModule" in text
    assert "is 'good' a class to be found in a picture, or does it mean that there is nothing to find?" in text
    assert "FolderDataModule, predict: 6 images, 2 classes" in text
    assert "(none)        2" in text
    assert "255 is not void; if it is: mask_values {255: void}" in text
    assert "fewer than 10 images to learn from: crack, dent" in text
    start = f"  uv run train.py fit --config configs/folder.yaml --data.root {root} --data.background "
    pipeline = f"  uv run hedgeseg pipeline {root} --out runs/tiles --background "
    assert [line for line in text.splitlines() if line.startswith("  uv run")] == [
        *(start + "good", start + "none-of-them"),
        *(pipeline + "good", pipeline + "none-of-them"),
    ]
    assert Image.open(tmp_path / "out" / "val.png").mode == "RGB"
    code, text = said(capsys, root, "--out", out, "--data.background", "good")
    assert [line for line in text.splitlines() if line.startswith("  uv run")] == [start + "good"]


def test_what_cannot_be_learnt_and_masks_that_cannot_be_read_are_said(tmp_path, capsys):
    for name in ("a", "b", "c", "d"):
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(path)
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.full((20, 30), 255, np.uint8)).save(tmp_path / "masks" / "a.png")
    (tmp_path / "labels.csv").write_text("image,crack,dent\na.png,1,1\nb.png,1,0\nc.png,1,0\nd.png,1,1\n")
    code, text = said(capsys, str(tmp_path), "--out", str(tmp_path / "out"))
    assert code == 0
    assert "note: " in text
    assert "all 4 images show 'crack', so nothing could be learnt of it" in text
    assert "masks that cannot be read: 1 of 4 images, such as a: image 'a': mask" in text
    assert "--data.mask_values '{255: crack}'" in text
    assert said(capsys, str(tmp_path), "--config", "x.yaml")[0] == 2
    assert said(capsys, str(tmp_path / "nowhere"))[0] == 1
