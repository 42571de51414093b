"""Settings of later stages that are wrong: told before anything is learnt, and before anything is thrown away."""

import pytest
import torch
import yaml
from pipeline_scenes import SETTINGS, write_folders

from hedgeseg.pipeline import start
from hedgeseg.pipeline.rehearsal import rehearse
from hedgeseg.pipeline.settings import STAGES, PipelineSettings, read_settings

WRONG = [
    ("seeds", {"method": "hedgee"}, "seeds: .*hedgee"),
    ("seeds", {"method": "hedge", "stages": "endz"}, "seeds: .*endz"),
    ("seeds", {"method": "hedge", "gama": 2.0}, "seeds: .*gama"),
    ("seeds", {"method": "hedge", "stages": [64]}, "seeds: .*64"),
    ("seeds", {"method": ["hedge", "full_grad"], "fuse": "sum"}, "seeds: .*sum"),
    ("pseudo_masks", {"background": "outso"}, "pseudo_masks: .*outso"),
    ("pseudo_masks", {"refine": "pamrr"}, "pseudo_masks: .*pamrr"),
    ("pseudo_masks", {"small": 20}, "pseudo_masks: small.*20"),
    ("segmenter", {"loss": "crossentropy"}, "segmenter: .*crossentropy"),
    ("segmenter", {"balance": 3}, "segmenter: balance.*3"),
    ("segmenter", {"arch": "deeplab"}, "segmenter: unknown architecture.*deeplab"),
    ("masks", {"scale": [0.5]}, "masks: .*scale"),
]


@pytest.mark.parametrize(("stage", "options", "message"), WRONG)
def test_what_is_wrong_is_told_before_the_classifier_learns(tmp_path, stage, options, message):
    settings = {**SETTINGS["pipeline"], stage: {**SETTINGS["pipeline"][stage], **options}} if stage != "masks" else {
        **SETTINGS["pipeline"], stage: options
    }  # fmt: skip
    config = tmp_path / "wrong.yaml"
    config.write_text(yaml.safe_dump({"pipeline": settings}))
    with pytest.raises(ValueError, match=message):
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


def test_settings_that_are_right_pass_and_draw_nothing_from_the_run():
    settings = read_settings(SETTINGS)
    before = torch.get_rng_state()
    rehearse(settings, 3, STAGES)
    assert torch.equal(torch.get_rng_state(), before)
    settings.seeds["method"] = "files:maps"
    with pytest.raises(FileNotFoundError, match="there is no folder maps"):
        rehearse(settings, 3, STAGES)
    rehearse(PipelineSettings(), 2, ["pseudo_masks", "masks"])
