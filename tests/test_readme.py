"""What README.md and docs/ promise: links lead somewhere, commands are taken by their parsers, Python blocks run."""

import re
import shlex
import sys

import pytest
import torch
from callback_scenes import Classifier, Scenes
from documents import ROOT, blocks, commands, run_python
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from hedgeseg.cli import build_parser
from hedgeseg.models import SmallCNN

PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]

# Commands that are not taken apart here, and where they are run.
RUN_ELSEWHERE = {
    "pip install uv && uv run train.py": "tests/test_train.py runs the quick start, with less data",
    "pip install uv && uv run pytest": "this is it",
    "uv run train.py": "tests/test_train.py",
}


class Data(LightningDataModule):
    def train_dataloader(self):
        return DataLoader(Scenes(8), batch_size=4)

    val_dataloader = train_dataloader


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if path.startswith("http"):
            continue
        linked = (ROOT / page).parent / path if path else ROOT / page
        assert linked.exists(), f"{page} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}, target


@pytest.mark.parametrize("page", PAGES)
def test_no_path_of_a_machine(page):
    assert not re.search(r"/(home|root|tmp|work|Users)/", (ROOT / page).read_text(encoding="utf-8"))


def every_command():
    pages = [page for page in PAGES if page != "docs/callback.md"]  # tests/test_callback_guide.py runs those
    return [pytest.param(c, id=f"{page}: {c[:60]}") for page in pages for c in commands(page)]


@pytest.mark.parametrize("command", every_command())
def test_a_command_is_what_the_programs_take(command, tmp_path, monkeypatch, capsys):
    """A command that no branch knows fails: it was never tried."""
    if command in RUN_ELSEWHERE:
        return
    runner, verb, program, *arguments = shlex.split(command)
    assert (runner, verb) == ("uv", "run")
    if program == "hedgeseg":
        parsed, rest = build_parser().parse_known_args(arguments)
        assert all(option.startswith("--data.") for option in rest[::2])
        assert not rest or parsed.further == "data"
    elif program == "train.py":
        monkeypatch.syspath_prepend(ROOT)
        monkeypatch.chdir(ROOT)  # where configs/ is
        monkeypatch.setattr(sys, "argv", ["train.py"])
        from train import CommandLine

        with pytest.raises(SystemExit) as stop:
            CommandLine([*arguments, "--print_config"])
        assert stop.value.code == 0
        assert "class_path: hedgeseg" in capsys.readouterr().out
    else:
        assert program.startswith("benchmarks/")
        taken = _parsed_by(ROOT / program, arguments, monkeypatch)
        assert taken


def _parsed_by(script, arguments, monkeypatch):
    """Whether a script's own parser takes the arguments; nothing behind it runs."""
    import argparse
    import runpy

    class Taken(Exception):  # noqa: N818 - no error
        pass

    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser, given=None, namespace=None):
        parse(parser, given, namespace)
        raise Taken

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    monkeypatch.syspath_prepend(script.parent)
    with pytest.raises(Taken):
        runpy.run_path(str(script), run_name="__main__")
    return True


def test_every_python_block_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")  # WandbLogger(offline=True) sets it for the whole process
    stand_ins = {
        "your_lightning_module": Classifier(),
        "your_data": Data(),
        "model": SmallCNN(20).eval(),
        "images": torch.randn(2, 3, 32, 32),
        "targets": [[7, 14], [3]],
        "image": torch.randn(3, 32, 32),
    }
    names = run_python("README.md", stand_ins)
    assert names["r"].maps.shape == (2, 2, 32, 32)
    assert set(names["seed"].mask.unique().tolist()) <= {0, 8, 15}
    assert list((tmp_path / "runs" / "mine" / "hedge").glob("epoch_*/sheet.jpg"))


@pytest.mark.parametrize("picture", sorted((ROOT / "docs" / "figures").glob("*.jpg")), ids=lambda path: path.stem)
def test_a_picture_is_small_and_made_by_a_script_of_its_name(picture, monkeypatch):
    assert picture.stat().st_size < 250_000
    pytest.importorskip("skimage")
    script = picture.with_suffix(".py")
    (told,) = re.findall(rf"^    uv run docs/figures/{script.name}(.*)$", script.read_text(), re.MULTILINE)
    _parsed_by(script, told.split(), monkeypatch)


def test_every_benchmark_has_its_command():
    scripts = {
        f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text()
    }
    told = {word for page in PAGES if page != "docs/callback.md" for c in commands(page) for word in c.split()}
    assert scripts <= told


def test_the_callback_takes_ten_lines():
    (_, first), *_ = blocks("README.md", "python")
    assert len([line for line in first.splitlines() if line.strip()]) <= 10


def test_the_page_on_hedging_computes_what_it_says():
    import doctest

    done = doctest.testfile(
        str(ROOT / "docs" / "how_hedging_works.md"), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert done.attempted > 20
    assert done.failed == 0
