"""train.py as a person calls it: in a folder of their own, from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import run_script

from hedgeseg.data import CocoFolder

ROOT = Path(__file__).resolve().parents[1]
TINY = [
    "--data.num_train=16", "--data.num_val=8", "--data.num_predict=6", "--data.batch_size=8",
    "--trainer.max_epochs=1", "--trainer.accelerator=cpu",
]  # fmt: skip


def train(*arguments, cwd):
    done = run_script([ROOT / "train.py", *arguments], cwd, env={"WANDB_SILENT": "true"})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_fit_logs_panels_and_an_offline_run(tmp_path):
    run = tmp_path / "run"
    folders = [f"--trainer.default_root_dir={run}", f"--trainer.logger.save_dir={run}"]
    train("fit", "--config", str(ROOT / "configs" / "shapes.yaml"), *TINY, *folders, cwd=tmp_path)
    sheets = list((run / "hedge").rglob("*.png"))
    assert sheets
    assert all(np.asarray(Image.open(sheet)).std() > 5 for sheet in sheets)  # not black
    assert list(run.glob("wandb/offline-run-*/*.wandb"))


def test_the_quick_start_writes_seeds_and_scores_them(tmp_path):
    script = tmp_path / "quick.py"
    script.write_text("import sys, train; train.quick_start(sys.argv[1:])")
    done = run_script([script, *TINY], tmp_path, path=[ROOT])
    assert done.returncode == 0, done.stderr[-3000:]
    run = tmp_path / "runs" / "shapes" / "1"
    for name in ("hedge", "grad_cam"):
        scores = json.loads((run / "seeds" / name / "scores.json").read_text(encoding="utf-8"))
        assert scores["images"] == 6
        assert 0 <= scores["miou"] <= scores["miou_best"] + 1e-6
        assert "map_segm" in scores
    for line in ("pictures:", "masks:", "W&B run:", "hedge", "grad_cam"):
        assert line in done.stdout
    first = done.stdout.rstrip().splitlines()[-2].removeprefix("look at this first: ")
    assert np.asarray(Image.open(tmp_path / first)).std() > 5
    # No other library has a word, and nothing redraws itself in a file.
    for noise in ("Warning", "warn", "Tip", "wandb:", "deprecated", "available", "\r"):
        assert noise not in done.stdout + done.stderr, done.stderr


@pytest.mark.parametrize(
    ("arch", "size", "devices"), [("mobilenet_v2", 225, 1), ("squeezenet1_0", 227, 1), ("squeezenet1_0", 227, 2)]
)
def test_photographs_with_imagenet_weights(shared, tmp_path, arch, size, devices):
    """Two processes share the images, and the first scores what both wrote."""
    data = shared / "data"
    out = train(
        "predict", "--config", str(ROOT / "configs" / "coco_voc.yaml"), f"--data.root={data / 'coco_voc'}",
        f"--model.arch={arch}", f"--model.weights={data / 'weights' / f'{arch}.pth'}", f"--data.image_size={size}",
        f"--model.groups={data / 'weights' / 'voc_from_imagenet.json'}",
        f"--data.batch_size={2 // devices}", "--trainer.limit_predict_batches=2", "--trainer.accelerator=cpu",
        f"--trainer.devices={devices}",
        f"--trainer.strategy={'ddp' if devices > 1 else 'auto'}", cwd=tmp_path,
    )  # fmt: skip
    seeds = tmp_path / "runs" / "coco_voc" / "seeds"
    masks = sorted(seeds.glob("*.png"))
    assert len(masks) == 4
    source = CocoFolder(data / "coco_voc", verify=False)
    for mask in masks:
        image = Image.open(mask)
        assert image.mode == "P"
        assert np.asarray(image).shape == source.mask(source.ids.index(mask.stem)).shape
    assert json.loads((seeds / "scores.json").read_text(encoding="utf-8"))["images"] == 4
    assert "mIoU" in out
    assert list((tmp_path / "runs" / "coco_voc").rglob("hedge/**/*.png"))


def test_a_missing_weights_file_is_named(tmp_path):
    config = ROOT / "configs" / "shapes.yaml"
    done = run_script([ROOT / "train.py", "validate", "--config", config, "--model.weights=nowhere.pth"], tmp_path)
    assert done.returncode != 0
    assert "nowhere.pth" in done.stderr
