"""From labels to a segmentation network on animals of VOC and on magnetic tiles, several seeds; one command, one table.

    uv run benchmarks/loop_on_two_sets.py --animals DIR --tiles DIR --weights tf_efficientnet_lite0.pth --out runs/loop

`--animals` holds VOCdevkit/VOC2012 (lists train_aug and val), `--tiles` the folders images/<class> and masks/<class>.
Each run is a `hedgeseg pipeline` in a folder of its own under `--out`: stop it whenever you like and give the same
command again, what is done is done. `--only person` and the like take the runs whose name holds the word; `--table`
runs nothing.

Settings are those of `configs/segment_voc2012.yaml` and `configs/segment_defects.yaml`, the trunk EfficientNet-Lite0's.
No true mask is used in a run; they score, and teach the twin. On what the settings were chosen, docs/seeds.md says.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from hedgeseg.pipeline.start import start
from hedgeseg.seeds.table import markdown

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
ANIMALS = ["cat", "cow", "dog", "horse", "sheep"]
COLUMNS = ("classifier", "seeds", "pseudo-masks", "network", "from true masks", "ratio", "good painted", "minutes")


def runs(a: argparse.Namespace) -> Iterator[tuple[str, Path, dict[str, Any], dict[str, Any]]]:
    """Name of the group, folder of data, configuration and options of every run."""
    for seed in range(a.seeds):
        if a.animals is not None:
            yield "animals", a.animals, _animals(a, ANIMALS), {"seed": seed, "masks": ""}
        if a.tiles is not None:
            told = {"seed": seed, "masks": a.tiles / "masks", "background": "free"}
            yield "tiles", a.tiles / "images", _with_trunk(a, "segment_defects.yaml"), told
        if a.animals is not None:
            yield "animals and person", a.animals, _animals(a, [*ANIMALS, "person"]), {"seed": seed, "masks": ""}


def numbers(found: dict[str, Any]) -> dict[str, float | None]:
    """The numbers of a `pipeline.json` that the table shows."""
    own = found["segmenter"] or {}
    return {
        "classifier": found["classifier"]["value"],
        "seeds": found["seeds"]["miou"],
        "pseudo-masks": found["pseudo_masks"]["miou"],
        "network": own.get("miou"),
        "from true masks": (found["supervised"] or {}).get("miou"),
        "ratio": found["ratio"],
        "good painted": own.get("free_images_painted"),
        "minutes": sum(found["seconds"].values()) / 60,
    }


def table(out: Path) -> str:
    """Mean, and range where there are several, over the runs of each group that are done."""
    groups: dict[str, list[dict[str, float | None]]] = {}
    for path in sorted(out.glob("*/pipeline.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["segmenter"] is not None:
            groups.setdefault(path.parent.name.rpartition("-")[0], []).append(numbers(found))
    rows = [
        [group, str(len(done)), *(_spread([one[column] for one in done]) for column in COLUMNS)]
        for group, done in groups.items()
    ]
    return markdown(["", "seeds", *COLUMNS], rows)


def _spread(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    mean = f"{sum(known) / len(known):.3f}"
    return mean if len(known) == 1 else f"{mean} ({min(known):.3f}-{max(known):.3f})"


def _animals(a: argparse.Namespace, classes: list[str]) -> dict[str, Any]:
    """segment_voc2012.yaml over the photographs that show some classes; other classes are void."""
    voc = {"root": str(a.animals), "year": 2012, "train_split": a.train, "val_split": "val", "labels": "mask"}
    data = {
        "class_path": "hedgeseg.data.SelectedDataModule",
        "init_args": {"classes": classes, "data": {"class_path": "hedgeseg.data.VocDataModule", "init_args": voc}},
    }
    config = _with_trunk(a, "segment_voc2012.yaml")
    config["data"]["init_args"]["data"] = data
    return config


def _with_trunk(a: argparse.Namespace, name: str) -> dict[str, Any]:
    """A configuration of the project with the trunk of this benchmark."""
    config = yaml.safe_load((CONFIGS / name).read_text(encoding="utf-8"))
    config["model"]["init_args"]["arch"] = None
    told = {"arch": a.arch, "weights": str(a.weights)}
    config["pipeline"]["classifier"].update(told)
    if a.precision is not None:
        config["pipeline"].setdefault("segmenter", {})["precision"] = a.precision
    return config


def main() -> None:
    """Run what is not done, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--animals", type=Path)
    parser.add_argument("--tiles", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--arch", default="timm/tf_efficientnet_lite0")
    parser.add_argument("--train", default="train_aug", help="list of the photographs to learn from")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="runs whose name holds this")
    parser.add_argument("--precision", help="of the segmentation network's training, such as bf16-mixed")
    parser.add_argument("--out", type=Path, default=Path("runs/loop"))
    parser.add_argument("--table", action="store_true", help="run nothing")
    a = parser.parse_args()
    for group, root, config, told in runs(a):
        name = f"{group}-{told['seed']}"
        if a.table or a.only not in name:
            continue
        print(f"\n{name}", flush=True)
        a.out.mkdir(parents=True, exist_ok=True)
        path = a.out / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        start(root, a.out / name, config=path, compare=True, **told)
    print(f"\n{table(a.out)}")


if __name__ == "__main__":
    main()
