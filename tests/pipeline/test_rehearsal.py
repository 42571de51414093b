"""Settings of later stages that are wrong: told before anything is learnt, and before anything is thrown away."""

import pytest
import torch
import yaml
from pipeline_scenes import SETTINGS, write_folders

from hedgeseg.data import FolderDataModule
from hedgeseg.pipeline import start
from hedgeseg.pipeline.images import PipelineImages
from hedgeseg.pipeline.rehearsal import rehearse
from hedgeseg.pipeline.settings import STAGES, read_settings
from hedgeseg.pipeline.work import Work

WRONG = [
    ("seeds", {"method": "hedgee"}, "seeds: .*hedgee"),
    ("seeds", {"method": "hedge", "stages": "endz"}, "seeds: .*endz"),
    ("seeds", {"method": "hedge", "gama": 2.0}, "seeds: .*gama"),
    ("seeds", {"method": "hedge", "stages": [64]}, "seeds: .*64"),
    ("seeds", {"method": ["hedge", "full_grad"], "fuse": "sum"}, "seeds: .*sum"),
    ("pseudo_masks", {"background": "outso"}, "pseudo_masks: .*outso"),
    ("pseudo_masks", {"refine": "pamrr"}, "pseudo_masks: .*pamrr"),
    ("pseudo_masks", {"small": 20}, "pseudo_masks: small.*20"),
    ("pseudo_masks", {"smal": 0.2}, "pseudo_masks has no setting 'smal'; there are refit, small"),
    ("pseudo_masks", {"refine": {"pamr": {"iters": 3}}}, "pseudo_masks: .*iters"),
    ("pseudo_masks", {"refine_side": 0}, "pseudo_masks: refine_side must be at least 1, got 0"),
    ("classifier", {"arch": "resnt18"}, "classifier: unknown architecture.*resnt18"),
    ("classifier", {"min_scale": 0}, "classifier: min_scale.*got 0"),
    ("classifier", {"lr": "fast"}, "classifier: lr must be a number such as 0.0001, got 'fast'"),
    ("seeds", {"fit": "shrt"}, "seeds: fit is one of.*shrt"),
    ("seeds", {"image_size": None}, "seeds: image_size must be a number.*None"),
    ("seeds", {"method": "attention_rollout"}, "seeds: .*"),
    ("segmenter", {"fit": "shrt"}, "segmenter: fit is one of.*shrt"),
    ("segmenter", {"weights": "DEFALT", "arch": "resnet18"}, "segmenter: .*DEFALT"),
    ("segmenter", {"epochs": 0}, "segmenter: epochs must be at least 1, got 0"),
    ("segmenter", {"ignore_below": 2}, "segmenter: ignore_below.*2"),
    ("segmenter", {"gate": -1}, "segmenter: gate must be at least 0, got -1"),
    ("masks", {"classes": "al"}, "masks: target is.*al"),
    ("segmenter", {"loss": "crossentropy"}, "segmenter: .*crossentropy"),
    ("segmenter", {"balance": 3}, "segmenter: balance.*3"),
    ("segmenter", {"arch": "deeplab"}, "segmenter: unknown architecture.*deeplab"),
    ("masks", {"scale": [0.5]}, "masks: .*scale"),
]


@pytest.mark.parametrize(("stage", "options", "message"), WRONG)
def test_what_is_wrong_is_told_before_the_classifier_learns(tmp_path, stage, options, message):
    settings = {**SETTINGS["pipeline"], stage: {**SETTINGS["pipeline"].get(stage, {}), **options}}
    config = tmp_path / "wrong.yaml"
    config.write_text(yaml.safe_dump({"pipeline": settings}))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        start(write_folders(tmp_path), tmp_path / "out", config=config, accelerator="cpu", progress=False)
    assert not list((tmp_path / "out").rglob("*.ckpt"))


def test_a_misspelt_change_does_not_cost_what_was_made(tmp_path):
    root, out, config = write_folders(tmp_path), tmp_path / "out", tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(SETTINGS))
    told = {"config": config, "accelerator": "cpu", "progress": False, "stages": ["classifier", "seeds"]}
    start(root, out, **told)
    made = sorted(path for path in (out / "seeds").rglob("*.npz"))
    assert made
    changed = {**SETTINGS["pipeline"], "seeds": {**SETTINGS["pipeline"]["seeds"], "method": "grad_kam"}}
    config.write_text(yaml.safe_dump({"pipeline": changed}))
    with pytest.raises(ValueError, match=r"seeds: .*grad_kam"):
        start(root, out, **told)
    assert sorted(path for path in (out / "seeds").rglob("*.npz")) == made


RIGHT = [
    ("seeds", {"method": ["hedge", "full_grad"], "fuse": "extent"}),
    ("seeds", {"method": "rsp", "spread": True, "image_size": [40, 64], "fit": "squash", "scales": [1.0, 1.5]}),
    ("seeds", {"method": "hedge", "stages": "ends", "background": {"band": {"low": 0.3, "high": 0.5}}}),
    ("pseudo_masks", {"refine": ["guided", {"pamr": {"iterations": 2}}], "background": 0.4}),
    ("classifier", {"lr": "3e-3", "views": None, "crop": 24}),
    ("segmenter", {"arch": "unet", "weights": "classifier", "dice": 1}),
    ("segmenter", {"arch": "lraspp_mobilenet_v3_large", "loss": "focal"}),
    ("masks", {"classes": "label", "refine": "pamr", "scales": [0.75, 1.0]}),
]


@pytest.mark.parametrize(("stage", "options"), RIGHT)
def test_settings_that_are_right_pass_and_draw_nothing_from_the_run(tmp_path, stage, options):
    work = rehearsed(tmp_path)
    work.settings.update(stage, options)
    before = torch.get_rng_state()
    rehearse(work, STAGES)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_missing_folder_is_told_with_its_stage(tmp_path):
    work = rehearsed(tmp_path)
    work.settings.seeds["method"] = "files:maps"
    with pytest.raises(FileNotFoundError, match=r"seeds: .*there is no folder maps"):
        rehearse(work, STAGES)


def test_yaml_takes_3e_minus_3_for_a_word_and_the_pipeline_does_not():
    assert yaml.safe_load("lr: 3e-3") == {"lr": "3e-3"}
    settings = read_settings({"pipeline": {"segmenter": {"lr": "3e-3"}}})
    assert settings.segmenter["lr"] == 0.003


def rehearsed(tmp_path):
    images = PipelineImages(FolderDataModule(str(write_folders(tmp_path))))
    return Work(read_settings(SETTINGS), images, tmp_path / "out", accelerator="cpu")
