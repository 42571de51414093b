"""The import arrows of the house: which part may know which."""

import ast
from pathlib import Path

import pytest
from processes import PARTS, loaded_modules

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hedgeseg"

# What several parts do alike.
SHARED = ("coco_segmentation", "connected_regions", "label_image", "deprecation", "progress")

# Part of the house -> the parts of hedgeseg that it may import.
MAY_IMPORT = {
    "attribution": {"attribution"},
    "connected_regions": {"connected_regions"},
    "label_image": {"label_image"},
    "deprecation": {"deprecation"},
    "progress": set(),
    "metrics": {"metrics", "connected_regions"},
    "visual": {"visual"},
    "coco_segmentation": {"coco_segmentation"},
    "seeds/formats": {"seeds.formats", "seeds.seed", "seeds.components", "visual", *SHARED},
    "seeds": {"seeds", "attribution", "metrics", "visual", *SHARED},
    "data": {"data", "visual", *SHARED},
    "models": {"models", "data"},
    "plots": {"plots"},
    "evaluation": {"evaluation", "attribution", "metrics", "plots", "seeds", "connected_regions"},
    "audit": {"audit", "attribution", "metrics", "seeds", "visual", "progress"},
    "pipeline": {
        *("pipeline", "callbacks", "audit", "models", "data", "seeds", "attribution", "metrics", "visual", "progress"),
    },
    "commands": {"commands", "pipeline", "evaluation", "seeds", "attribution", "metrics", "visual", "data", "models"},
    "callbacks": {"callbacks", "audit", "evaluation", "seeds", "attribution", "metrics", "visual", *SHARED},
}
LIGHTNING = {"callbacks", "data", "models", "pipeline"}


def files(part):
    path = ROOT / "callbacks" if part == "callbacks" else PACKAGE / part
    if path.is_dir():
        return sorted(path.rglob("*.py"))
    return [path.with_suffix(".py")]


def imported(file):
    """Dotted names of everything a file imports, also inside functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_arrows_inside_the_package(part):
    allowed = MAY_IMPORT[part]
    found = files(part)
    assert found
    for file in found:
        for name in imported(file):
            if name.startswith("hedgeseg."):
                inner = name.removeprefix("hedgeseg.")
                assert any(inner == a or inner.startswith(a + ".") for a in allowed), f"{file} imports {name}"


def test_who_knows_lightning_and_wandb():
    for file in [*PACKAGE.rglob("*.py"), *(ROOT / "callbacks").rglob("*.py")]:
        parts = file.resolve().relative_to(ROOT).parts
        part = parts[0] if parts[0] == "callbacks" else parts[1]
        roots = {name.split(".")[0] for name in imported(file)}
        if part not in LIGHTNING:
            assert not roots & {"lightning", "pytorch_lightning"}, file
        if file.name != "panels.py":
            assert "wandb" not in roots, file
        if file.name != "transforms.py":
            assert "albumentations" not in roots, file


@pytest.mark.parametrize("module", PARTS)
def test_importing_the_engine_loads_neither_lightning_nor_wandb(module):
    assert not {"lightning", "pytorch_lightning", "wandb", "albumentations"} & set(loaded_modules()[module])


def test_every_package_is_installed():
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {p.parent.relative_to(ROOT) for p in PACKAGE.rglob("__init__.py")}
    folders |= {Path("hedgeseg") / p.parent.relative_to(ROOT) for p in (ROOT / "callbacks").rglob("__init__.py")}
    assert {".".join(f.parts) for f in folders} == set(settings["packages"])
