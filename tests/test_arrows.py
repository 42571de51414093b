"""The import arrows of the house: which part may know which."""

import ast
from pathlib import Path

import pytest
from processes import PARTS, loaded_modules

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hedgeseg"

# What several parts do alike.
SHARED = ("coco_segmentation", "connected_regions", "label_image", "deprecation", "progress", "forked")

# Part of the house -> the parts of hedgeseg that it may import.
MAY_IMPORT = {
    "attribution": {"attribution"},
    "connected_regions": {"connected_regions"},
    "label_image": {"label_image"},
    "deprecation": {"deprecation"},
    "progress": set(),
    "forked": set(),
    "metrics": {"metrics", "connected_regions"},
    "visual": {"visual"},
    "coco_segmentation": {"coco_segmentation"},
    "seeds/formats": {"seeds.formats", "seeds.seed", "seeds.components", "visual", *SHARED},
    "seeds": {"seeds", "attribution", "metrics", "visual", "page", *SHARED},
    "data": {"data", "visual", *SHARED},
    "models": {"models", "data"},
    "plots": {"plots"},
    "class_names": {"class_names"},
    "page": {"page", "visual"},
    "evaluation": {"evaluation", "attribution", "metrics", "plots", "seeds", "connected_regions"},
    "audit": {"audit", "attribution", "metrics", "seeds", "visual", "progress", "page", "class_names"},
    "pipeline": {
        *("pipeline", "callbacks", "audit", "models", "data", "seeds", "attribution", "metrics", "visual", "progress"),
        "page",
    },
    "commands": {
        "commands",
        "pipeline",
        "evaluation",
        "seeds",
        "attribution",
        "metrics",
        "visual",
        "data",
        "models",
        "quiet",
    },
    "callbacks": {
        "callbacks",
        "audit",
        "evaluation",
        "seeds",
        "attribution",
        "metrics",
        "visual",
        "class_names",
        *SHARED,
    },
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


# The floors of the engine, lowest first: a file imports from its own floor and from those below it.
FLOORS = (
    {"operations", "errors", "samples", "aliasing", "constants", "custom_functions", "explaining", "fused", "precision",
     "inputs"},
    {"nodes", "kept", "modules", "tape", "replay", "attention", "branches", "batch_statistics", "tracing",
     "tracing_moves", "tracing_rules", "tokens", "read_tokens", "watch", "finite", "one_logit", "coupling", "recording",
     "remarks", "feature_map"},
    {"rules"},
    {"stages", "sweep", "head", "projection"},
    {"layers", "layer_names", "last_maps", "families", "methods", "one_by_one", "contributions", "api"},
)  # fmt: skip


def floor_of(name):
    return next((i for i, floor in enumerate(FLOORS) if name.split(".")[0] in floor), None)


def test_operations_lie_below_rules_and_rules_below_the_sweep():
    engine = PACKAGE / "attribution"
    for file in engine.rglob("*.py"):
        path = file.relative_to(engine).with_suffix("").parts
        mine = floor_of(path[0])
        if path == ("__init__",):
            continue
        assert mine is not None, f"{file} has no floor"
        for name in imported(file):
            if name.startswith("hedgeseg.attribution."):
                other = floor_of(name.removeprefix("hedgeseg.attribution."))
                assert other is None or other <= mine, f"{file} imports {name}"
    assert not [n for n in imported(engine / "operations.py") if n.startswith("hedgeseg")]


def test_the_engines_files_import_one_another_without_a_circle():
    engine = PACKAGE / "attribution"
    names = {".".join(f.relative_to(engine).with_suffix("").parts).removesuffix(".__init__"): f
             for f in engine.rglob("*.py")}  # fmt: skip
    read = {
        name: {n.removeprefix("hedgeseg.attribution.") for n in imported(file)} & names.keys() - {name}
        for name, file in names.items()
        if name != "__init__"
    }
    while free := [name for name, others in read.items() if not others & read.keys()]:
        for name in free:
            del read[name]
    assert not read, f"these import one another: {sorted(read)}"


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
