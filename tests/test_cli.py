"""The console script, called as `main(argv)`."""

import csv
import json
import shlex
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hedgeseg import METHODS
from hedgeseg.cli import build_parser, main
from hedgeseg.commands.classes import near_names
from hedgeseg.models import SmallCNN
from hedgeseg.seeds import Seed, write_seed
from hedgeseg.seeds.formats import read_mask, write_mask

CLASSES = "cat,dog,bird"


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "weights.pth"
    torch.save(SmallCNN(3).state_dict(), path)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """`seeds`, `masks` and `images` of two images; the seed of the first is right, of the second half right."""
    (tmp_path / "images").mkdir()
    for number, name in enumerate(("a", "b")):
        truth = np.zeros((12, 16), np.uint8)
        truth[4:8, 4:12] = 2
        write_mask(tmp_path / "masks", name, truth)
        Image.fromarray(np.full((12, 16, 3), 90, np.uint8)).save(tmp_path / "images" / f"{name}.png")
        mask = truth.copy()
        mask[:, 8:] *= 1 - number
        scores = torch.from_numpy(mask == 2)[None].float()
        write_seed(tmp_path / "seeds", name, Seed(scores, torch.tensor([1]), torch.from_numpy(mask)))
    return tmp_path


def explain(photograph: Path, weights: Path, *more: str) -> int:
    fixed = ["--model", "small_cnn", "--weights", str(weights), "--size", "32", "--out", str(weights.parent / "f.png")]
    return main(["explain", str(photograph), *fixed, *more])


def test_methods_lists_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(METHODS)
    assert all(line.split()[1] in ("signed", "unsigned") for line in lines)
    assert "[captum]" in next(line for line in lines if line.startswith("lime"))


def test_methods_describes_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "rise"]) == 0
    out = capsys.readouterr().out
    assert "Petsiuk" in out
    assert "masks=4000" in out
    assert main(["methods", "rice"]) == 2
    assert "did you mean 'rise'?" in capsys.readouterr().err


def test_explain_draws_a_row_per_target(photograph: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(photograph, weights, "--classes", CLASSES, "--target", "Dog", "--target", "2", "--gamma", "1.5") == 0
    out = capsys.readouterr().out
    assert "gamma=1.5" in out
    assert "dog: logit" in out
    assert "bird: logit" in out
    with Image.open(weights.parent / "f.png") as figure:
        assert figure.width > 3 * 44
        assert figure.height > 2 * 32


def test_explain_takes_what_the_model_sees_by_default(
    photograph: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(photograph, weights, "--method", "random", "--option", "seed=4") == 0
    out = capsys.readouterr().out
    assert "seed=4" in out
    assert "rank 1 of 3" in out


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--target", "7"], 2, "classes 0 to 2"),
        (["--target", "dog"], 2, "have no names"),
        (["--target", "dig", "--classes", CLASSES], 2, "nearest: 'dog'"),
        (["--classes", "cat,cat"], 2, "different names"),
        (["--option", "speed=9"], 2, "no option 'speed'; it takes gamma"),
        (["--option", "speed"], 2, "NAME=VALUE"),
        (["--method", "random", "--gamma", "1"], 2, "no option 'gamma'; it takes seed=0"),
        (["--size", "0"], 2, "--size 0"),
        (["--gamma", "7"], 1, r"gamma=7.0"),
        (["--layer", "nowhere"], 1, "no such module"),
        (["--model", "resnet18"], 1, "does not fit resnet18"),
        (["--model", "resnet0"], 1, "nearest: resnet"),
        (["--weights", "nothing.pth"], 1, "no such file"),
        (["--out", "figure"], 2, "take .png"),
        pytest.param(
            ["--device", "cuda"],
            2,
            "no CUDA device",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_explain_says_what_was_wrong(
    photograph: Path, weights: Path, capsys: pytest.CaptureFixture[str], more: list[str], code: int, message: str
) -> None:
    assert explain(photograph, weights, *more) == code
    assert message in capsys.readouterr().err


def test_explain_names_its_picture_after_photograph_and_method(
    photograph: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["explain", str(photograph), "--model", "small_cnn", "--weights", str(weights), "--size", "32"]
    assert main([*argv, "--method", "grad_cam"]) == 0
    assert (tmp_path / "photo_grad_cam.png").is_file()


def test_near_names_hold_the_word_or_are_spelt_alike() -> None:
    names = ["hot dog", "dogsled", "eskimo dog", "dig", "cat"]
    assert near_names("dog", names)[:2] == ["hot dog", "eskimo dog"]
    assert "dig" in near_names("dog", names)
    assert near_names("zebra", names) == []


@pytest.mark.parametrize(
    "command",
    ["explain", "methods", "describe", "pipeline", "segment", "score", "convert", "refine", "validate", "report"],
)
def test_help_shows_examples_that_the_parser_takes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    examples = [line.strip() for line in out.split("examples:")[1].splitlines() if line.startswith("  hedgeseg ")]
    assert len(examples) >= 2
    for example in examples:
        _, rest = build_parser().parse_known_args(shlex.split(example)[1:])
        assert all(option.startswith("--data.") for option in rest[::2])


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"hedgeseg {version('hedgeseg')}\n"


def test_errors_have_no_traceback_unless_asked_for(
    photograph: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photograph.write_text("no picture")
    assert explain(photograph, weights) == 1
    assert "Traceback" not in capsys.readouterr().err
    photograph.unlink()
    assert explain(photograph, weights) == 1
    assert "photo.jpg" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError):
        main(["--traceback", "explain", str(photograph), "--model", "small_cnn", "--out", "f.png"])


@pytest.mark.parametrize("argv", [[], ["paint"], ["explain"], ["explain", "a.jpg", "--model", "m", "--method", "x"]])
def test_argparse_refuses_with_code_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    assert "usage: hedgeseg" in capsys.readouterr().err


def test_score(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["score", str(folders / "seeds"), "--masks", str(folders / "masks"), "--classes", CLASSES]
    assert main([*argv, "--no-detection", "--per-class", "--json", str(folders / "scores.json")]) == 0
    out = capsys.readouterr().out
    assert "mIoU" in out
    assert "dog" in out
    (scores,) = json.loads((folders / "scores.json").read_text()).values()
    assert scores["images"] == 2
    assert scores["per_class"]["dog"]["iou"] == pytest.approx(0.75)


def test_score_writes_its_tables(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["score", str(folders / "seeds"), "--masks", str(folders / "masks"), "--classes", CLASSES]
    assert main([*argv, "--no-detection", "--out", str(folders / "scores")]) == 0
    assert str(folders / "scores") in capsys.readouterr().out
    (scores,) = json.loads((folders / "scores" / "scores.json").read_text()).values()
    with (folders / "scores" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = {(row["class"], row["value"]): row["number"] for row in rows}
    assert {row["seeds"] for row in rows} == {str(folders / "seeds")}
    assert float(numbers["", "miou"]) == pytest.approx(scores["miou"], rel=1e-5)
    assert float(numbers["dog", "iou"]) == pytest.approx(0.75)
    assert numbers["cat", "iou"] == ""
    text = (folders / "scores" / "scores.md").read_text()
    assert "mIoU" in text
    assert "| dog" in text
    assert sorted(path.name for path in (folders / "scores").iterdir()) == ["scores.csv", "scores.json", "scores.md"]


def test_score_counts_missing_seeds(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mask(folders / "masks", "c", np.zeros((3, 3), np.uint8))
    argv = ["score", str(folders / "seeds"), "--masks", str(folders / "masks"), "--no-detection"]
    assert main(argv) == 0
    assert "1 of 3 images have a mask but no seed" in capsys.readouterr().out
    assert main(["score", str(folders / "nothing"), *argv[2:]]) == 1
    assert "nothing" in capsys.readouterr().err


def test_refine(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, size in (("a", read_mask(folders / "masks", "a").shape), ("b", read_mask(folders / "masks", "b").shape)):
        (folders / "images").mkdir(exist_ok=True)
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)).save(
            folders / "images" / f"{name}.png"
        )
    again = ["refine", str(folders / "seeds"), str(folders / "again")]
    assert main([*again, "--background", "0.5"]) == 0
    assert "2 seeds in" in capsys.readouterr().out
    assert np.array_equal(read_mask(folders / "again", "a"), read_mask(folders / "seeds", "a"))
    assert main([*again, "--background", "otsu"]) == 1
    assert "other settings" in capsys.readouterr().err
    more = ["refine", str(folders / "seeds"), str(folders / "more"), "--refine", "guided"]
    assert main(more) == 1
    assert "--images" in capsys.readouterr().err
    assert main([*more, "--images", str(folders / "images")]) == 0
    weights = folders / "weights.pth"
    torch.manual_seed(0)
    torch.save(SmallCNN(3).state_dict(), weights)
    spread = ["--images", str(folders / "images"), "--spread", "small_cnn", "--weights", str(weights), "--size", "64"]
    assert main(["refine", str(folders / "seeds"), str(folders / "spread"), *spread]) == 0
    assert "spread" in (folders / "spread" / "manifest.json").read_text()


def test_convert(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["convert", str(folders / "seeds"), str(folders / "plain"), "--from", "npz", "--to", "png"]
    assert main(argv) == 0
    assert "2 converted" in capsys.readouterr().out
    assert np.array_equal(read_mask(folders / "plain", "a"), read_mask(folders / "masks", "a"))
    assert main([*argv[:4], "irn", "--to", "png"]) == 1
    assert "--allow-pickle" in capsys.readouterr().err


def test_validate(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["validate", str(folders / "seeds"), "--images", str(folders / "images"), "--classes", CLASSES]
    assert main(argv) == 0
    assert "nothing wrong" in capsys.readouterr().out
    (folders / "images" / "b.png").rename(folders / "images" / "c.png")
    assert main([*argv[:-1], "cat"]) == 1
    out = capsys.readouterr().out
    assert "b: unknown" in out
    assert "c: missing" in out
    assert "classes [1] do not exist" in out


def test_report(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folders / "pages" / "report.html"
    argv = ["report", str(folders / "seeds"), "--images", str(folders / "images"), "--classes", CLASSES]
    assert main([*argv, "--masks", str(folders / "masks"), "--no-detection", "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    assert "mIoU" in out.read_text(encoding="utf-8")
    assert main([*argv, "--out", str(out)]) == 0
