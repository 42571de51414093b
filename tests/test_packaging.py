"""What is installed: the version, the extras, and a wheel that a source distribution builds by itself."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import warnings
import zipfile
from pathlib import Path

import pytest
from processes import loaded_modules

import hedgeseg
from hedgeseg import METHODS

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_version_is_that_of_the_metadata():
    assert hedgeseg.__version__ == importlib.metadata.version("hedgeseg") == PROJECT["version"]


def test_extras_that_messages_name_exist():
    named = {method.extra for method in METHODS.values()} - {""}
    for file in [*(ROOT / "hedgeseg").rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]:
        named |= set(re.findall(r"hedgeseg\[(\w+)\]", file.read_text(encoding="utf-8")))
    assert named == set(PROJECT["optional-dependencies"])


def test_the_changes_of_this_version_are_told():
    versions = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert versions[0] == PROJECT["version"]
    assert len(versions) == len(set(versions))


def test_the_public_names_exist_and_are_documented():
    for name in ("hedgeseg", "hedgeseg.attribution", "hedgeseg.metrics", "hedgeseg.seeds", "hedgeseg.callbacks"):
        module = importlib.import_module(name)
        for public in module.__all__:
            value = getattr(module, public)
            assert public in ("METHODS", "__version__") or value.__doc__, f"{name}.{public}"


def test_importing_the_package_costs_little_beyond_torch():
    added = loaded_modules()["hedgeseg"]
    heavy = {"lightning", "wandb", "albumentations", "torchmetrics", "matplotlib", "torchvision", "scipy", "cv2", "PIL"}
    assert not heavy & {name.split(".")[0] for name in added}
    assert len([name for name in added if not name.startswith("hedgeseg")]) < 60


def test_no_warning_is_ours():
    assert "hedgeseg.attribution.api" in loaded_modules()["hedgeseg.attribution"]  # where a deprecation is an error
    with warnings.catch_warnings():
        warnings.simplefilter("error", SyntaxWarning)
        for file in [*(ROOT / "hedgeseg").rglob("*.py"), *(ROOT / "callbacks").rglob("*.py"), ROOT / "train.py"]:
            compile(file.read_text(encoding="utf-8"), str(file), "exec")


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """A source distribution of the checkout, and a wheel built from what it holds; nothing is downloaded."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("dist")
    checkout = shutil.copytree(ROOT, folder / "checkout", symlinks=True, ignore=_not_source)
    sdist = _build("sdist", checkout, folder)
    with tarfile.open(sdist) as file:
        file.extractall(folder, filter="data")
    return sdist, _build("wheel", folder / sdist.name.removesuffix(".tar.gz"), folder)


def _not_source(folder, names):
    kept = {"hedgeseg", "callbacks", "docs", "configs", "tests", "benchmarks"}
    files = {"README.md", "CHANGELOG.md", "LICENSE", "MANIFEST.in", "pyproject.toml", "train.py"}
    if Path(folder) == ROOT:
        return [name for name in names if name not in kept | files]
    return [name for name in names if name == "__pycache__"]


def _build(kind, source, out):
    code = f"import setuptools.build_meta as b; print(b.build_{kind}({str(out)!r}))"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return out / done.stdout.split()[-1]


def test_the_source_distribution_is_the_checkout(distributions):
    with tarfile.open(distributions[0]) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
        links = [member.name for member in file.getmembers() if member.issym()]
    assert names >= {
        "CHANGELOG.md",
        "train.py",
        "callbacks/hedge.py",
        "configs/shapes.yaml",
        "docs/callback.md",
        "tests/conftest.py",
    }
    assert not any(name.startswith("hedgeseg/callbacks/") for name in names)
    assert not links


def test_the_wheel_holds_every_module_once(distributions):
    with zipfile.ZipFile(distributions[1]) as file:
        names = file.namelist()
        entry_points = file.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "hedgeseg").rglob("*.py")}
    modules |= {f"hedgeseg/{path.relative_to(ROOT)}" for path in (ROOT / "callbacks").rglob("*.py")}
    assert {n for n in names if n.endswith(".py")} == modules
    assert len(names) == len(set(names))
    assert "hedgeseg/py.typed" in names
    assert "hedgeseg = hedgeseg.cli:main" in entry_points
    assert Path(distributions[1]).stat().st_size < 1_000_000
