"""The whole way from labels to masks, on miniature pictures."""

import json

import numpy as np
import pytest
from PIL import Image
from pipeline_scenes import write_folders, write_settings, write_table

from hedgeseg.cli import main
from hedgeseg.data import RecordedImages
from hedgeseg.pipeline import start

STAGES = ["classifier", "seeds", "pseudo_masks", "segmenter", "masks", "supervised"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Pictures in a table, some of no class; the whole pipeline with scores and yardstick."""
    root = tmp_path_factory.mktemp("pipeline")
    write_table(root)
    options = [str(root), "--csv", "labels.csv", "--config", str(write_settings(root / "settings.yaml"))]
    argv = ["pipeline", *options, "--out", str(root / "out"), "--device", "cpu", "--masks", "--compare"]
    assert main(argv) == 0
    return root, argv


def result(root):
    return json.loads((root / "out" / "pipeline.json").read_text())


def files(folder):
    return {
        path.relative_to(folder): (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in folder.rglob("*")
        if path.suffix in (".png", ".npz", ".ckpt")
    }


def test_the_result_holds_every_score(made):
    found = result(made[0])
    assert found["classifier"]["metric"] == "map"
    assert 0 <= found["classifier"]["value"] <= 1
    for stage in ("seeds", "pseudo_masks", "segmenter", "supervised"):
        assert 0 < found[stage]["miou"] <= 1
        assert set(found[stage]["per_class"]) == {"background", "blue", "red"}
    assert found["ratio"] == pytest.approx(found["segmenter"]["miou"] / found["supervised"]["miou"])
    assert list(found["seconds"]) == STAGES
    assert found["images"] == {"train": 11, "val": 3}
    assert sum(found[stage].get("free_images", 0) for stage in ("seeds", "segmenter")) == 3
    assert found["seeds"]["free_painted"] == 0  # a picture of no class has a seed of background


def test_every_picture_has_a_mask_of_its_own_size(made):
    root, _ = made
    for path in (root / "images").glob("*.png"):
        mask = Image.open(root / "out" / "masks" / "files" / path.name)
        assert mask.mode == "P"
        assert mask.size == Image.open(path).size
        assert set(np.unique(mask).tolist()) <= {0, 1, 2}


def test_the_report_needs_nothing_beside_it(made):
    page = (made[0] / "out" / "report.html").read_text()
    assert page.count("data:image/") == 2
    assert 'src="http' not in page
    assert "from true masks" in page
    assert "Ratio to the network" in page


def test_what_is_done_is_not_done_again(made, capsys):
    root, argv = made
    before, found = files(root / "out"), result(root)
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert all(f"{stage}: done before" in out for stage in STAGES)
    assert "ratio to the network from true masks" in out
    assert files(root / "out") == before
    assert result(root) == found
    assert not list((root / "out").rglob("last.ckpt"))


def test_other_settings_make_anew_what_depends_on_them_and_nothing_else(made, capsys):
    root, argv = made
    before = files(root / "out")
    settings = root / "other.yaml"
    settings.write_text((root / "settings.yaml").read_text() + "  masks: {flip: false}\n")
    other = [str(settings) if part.endswith("settings.yaml") else part for part in argv]
    stages = ["--stage", "pseudo_masks", "--stage", "masks"]
    assert main([part for part in other if part != "--compare"] + stages) == 0
    out = capsys.readouterr().out
    assert "[1/2] pseudo_masks: done before" in out
    assert "[2/2] masks: made anew, as settings have changed: masks.flip: True -> False" in out
    after = files(root / "out")
    assert all((after[name] == before[name]) == (name.parts[0] != "masks") for name in before)


def test_without_masks_no_true_mask_is_looked_at(tmp_path, monkeypatch):
    def refuse(self, index):
        raise AssertionError("a true mask was looked at")

    monkeypatch.setattr(RecordedImages, "mask", refuse)
    root = write_folders(tmp_path)
    said = []
    found = start(
        root, tmp_path / "out", config=write_settings(tmp_path / "s.yaml"), epochs=1, progress=False, say=said.append
    )
    assert found["classifier"]["metric"] == "accuracy"
    assert [found[key] for key in ("seeds", "pseudo_masks", "segmenter", "supervised", "ratio")] == [None] * 5
    assert 0 <= found["agreement"] <= 1
    assert len(list((tmp_path / "out" / "masks" / "files").glob("*.png"))) == 12
    assert said[0] == "[1/5] classifier: begins"
    assert json.loads((tmp_path / "out" / "pipeline.json").read_text())["segmenter"] is None


def test_a_stage_alone_needs_those_before_it(tmp_path):
    root = write_folders(tmp_path)
    with pytest.raises(ValueError, match="seeds needs the stage classifier, which is not done"):
        start(root, tmp_path / "out", stages=["seeds"], progress=False)
    with pytest.raises(ValueError, match="there is no stage 'seed'; there are classifier"):
        start(root, tmp_path / "out", stages=["seed"], progress=False)


def test_options_that_do_not_fit(tmp_path):
    root = write_folders(tmp_path)
    with pytest.raises(ValueError, match="--compare trains on the true masks"):
        start(root, tmp_path / "out", compare=True)
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        start(root, tmp_path / "out", masks=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="--epochs must be positive"):
        start(root, tmp_path / "out", epochs=0)


def test_a_name_that_may_mean_nothing_is_asked_about_with_the_option_to_answer_it(tmp_path, capsys):
    for number, name in enumerate(("crack/a", "crack/b", "good/c", "good/d", "empty/e", "empty/f")):
        path = tmp_path / "pictures" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30, 3), 30 * number, np.uint8)).save(path)
    command = ["pipeline", str(tmp_path / "pictures"), "--out", str(tmp_path / "out"), "--stage", "seed"]
    assert main(command) == 1
    asked = capsys.readouterr().err
    assert """--background '["empty", "good"]'""" in asked
    assert "--data." not in asked
    assert main([*command, "--background", '["empty", "good"]']) == 1
    assert "there is no stage 'seed'" in capsys.readouterr().err


def test_new_pictures_are_segmented_by_the_checkpoint(made, tmp_path, capsys):
    root, _ = made
    Image.new("RGB", (50, 30), (210, 30, 30)).save(tmp_path / "one.jpg")
    (tmp_path / "more" / "deep").mkdir(parents=True)
    Image.new("L", (44, 60), 90).save(tmp_path / "more" / "deep" / "two.png")
    checkpoint = root / "out" / "segmenter" / "weights.ckpt"
    sources = [str(tmp_path / "one.jpg"), str(tmp_path / "more")]
    argv = ["segment", *sources, "--checkpoint", str(checkpoint), "--out", str(tmp_path / "m"), "--device", "cpu"]
    assert main(argv) == 0
    assert Image.open(tmp_path / "m" / "one.png").size == (50, 30)
    assert Image.open(tmp_path / "m" / "deep" / "two.png").size == (44, 60)
    capsys.readouterr()
    assert main([*argv, "--scales", "1,1.5"]) == 1
    assert "was made with other settings" in capsys.readouterr().err
    assert main(argv) == 0
    assert "0 written, 2 skipped, 0 failed" in capsys.readouterr().out
