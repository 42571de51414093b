"""Every configuration of a data set runs, on a miniature of that data set in its real layout."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from miniatures import (
    write_coco,
    write_coco_folder,
    write_imagenet_s,
    write_instances,
    write_mat,
    write_pets,
    write_voc,
    write_wnids,
)
from PIL import Image
from processes import run_script

from hedgeseg.callbacks import HedgeCallback

ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "--model.arch=small_cnn", "--model.weights=null", "--data.image_size=48", "--data.batch_size=2",
    "--data.num_workers=0", "--trainer.accelerator=cpu", "--trainer.max_epochs=1", "--trainer.logger=false",
    "--trainer.enable_progress_bar=false",
)  # fmt: skip


def folder(root, names=("train/cat/a", "train/dog/b", "val/cat/c", "val/dog/d")):
    for number, name in enumerate(names):
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 50, 3), 40 * number, np.uint8)).save(path)
    return [f"--data.root={root}"]


def table(root):
    (root / "labels.csv").write_text("image,cat,dog\na.png,1,0\nb.png,1,1\nc.png,0,1\nd.png,0,1\n")
    return [*folder(root, [f"images/{name}" for name in "abcd"]), "--data.train_fraction=0.5"]


def coco_folder(root):
    """With fishes in some images only: of a class in all of them nothing could be learnt."""
    content = write_coco_folder(root, images=6)
    bare = [item for item in content["annotations"] if item["category_id"] == 7 and item["image_id"] < 103]
    write_instances(root, content | {"annotations": [item for item in content["annotations"] if item not in bare]})
    return [f"--data.root={root}", "--model.num_classes=2"]


def mat(root):
    names = ("n02124075_1", "n01440764_2")
    return [f"--data.path={write_mat(root / 'x.mat', names)}", f"--data.wnids={write_wnids(root / 'wnids.txt')}"]


def irn(root):
    """Its network and pictures are large; what it does with them is the same on small ones."""
    write_voc(root)
    small = ["--data.crop=40", "--data.long_sides=[32,48]", "--data.train_split=train", "--data.root", str(root)]
    return [*small, "--model.arch=resnet18", "--model.lr=0.001"]


# configuration -> (job, what writes its miniature and gives the options that lead to it)
JOBS = {
    "shapes": ("fit", lambda root: ["--data.num_train=4", "--data.num_val=2", "--data.num_predict=2"]),
    "coco_voc": ("validate", coco_folder),
    "coco_voc_finetune": ("fit", coco_folder),
    "coco2014": ("fit", lambda root: [f"--data.root={write_coco(root)}", "--model.num_classes=2"]),
    "folder": ("fit", folder),
    "folder_csv": ("fit", table),
    "imagenet_s": ("fit", lambda root: [f"--data.root={write_imagenet_s(root)}", "--model.num_classes=2"]),
    "imagenet_segmentation": ("validate", mat),
    "imagenet_val": ("validate", lambda root: [*folder(root, ("n01/a", "n02/b")), "--model.num_classes=2"]),
    "pet": ("fit", lambda root: [f"--data.root={write_pets(root)}", "--model.num_classes=2"]),
    "voc2007": ("fit", lambda root: [f"--data.root={write_voc(root, 2007) and root}"]),
    "voc2012_irn": ("fit", irn),
    "voc2012": ("fit", lambda root: [f"--data.root={write_voc(root) and root}"]),
}


def test_no_configuration_is_forgotten():
    named = {path.stem for path in (ROOT / "configs").glob("*.yaml")}
    assert {name for name in named if not name.startswith(("segment_", "evaluate_"))} == set(JOBS)


@pytest.mark.parametrize("name", JOBS)
def test_configuration_runs_on_a_miniature(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setattr("sys.argv", ["train.py"])
    job, write = JOBS[name]
    (tmp_path / "data").mkdir()
    if name == "imagenet_segmentation":
        pytest.importorskip("h5py")
    import train

    options = [*SMALL, *write(tmp_path / "data")]
    cli = train.CommandLine([job, "--config", str(ROOT / "configs" / f"{name}.yaml"), *options])
    assert cli.model.num_classes == cli.datamodule.num_classes
    assert cli.model.classes == tuple(cli.datamodule.classes)
    metric = "val/map" if cli.model.task == "multilabel" else "val/accuracy"
    assert 0 <= float(cli.trainer.callback_metrics[metric]) <= 1
    assert cli.trainer.callback_metrics["val/score"] == cli.trainer.callback_metrics[metric]
    (callback,) = [c for c in cli.trainer.callbacks if isinstance(c, HedgeCallback)]
    assert f"{callback.prefix}/positive_ratio" in cli.trainer.callback_metrics


def test_two_commands_may_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setattr("sys.argv", ["train.py"])
    monkeypatch.chdir(tmp_path)
    import train

    options = [*JOBS["shapes"][1](tmp_path), *SMALL, f"--trainer.default_root_dir={tmp_path / 'run'}"]
    for command in ("fit", "validate", "validate"):
        train.CommandLine([command, "--config", str(ROOT / "configs" / "shapes.yaml"), *options])
    assert (tmp_path / "run" / "config.yaml").is_file()


def test_print_config_shows_what_would_run(tmp_path):
    command = [ROOT / "train.py", "fit", "--config", ROOT / "configs" / "voc2012.yaml"]
    done = run_script([*command, "--data.train_split=train_aug", "--model.lr=0.5", "--print_config"], tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    shown = yaml.safe_load(done.stdout)
    assert shown["data"]["init_args"]["train_split"] == "train_aug"
    assert shown["data"]["init_args"]["keep_shape"] is False  # what the configuration leaves out is there too
    assert shown["model"].get("init_args", shown["model"])["lr"] == 0.5
