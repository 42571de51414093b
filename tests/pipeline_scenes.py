"""Miniature pictures with labels: red and blue patches on grey, some with neither; true masks beside."""

import numpy as np
import yaml
from PIL import Image

SETTINGS = {
    "pipeline": {
        "classifier": {
            "arch": "small_cnn",
            "weights": None,
            "freeze_batch_norm": False,
            "image_size": 32,
            "batch_size": 4,
            "lr": 0.003,
            "epochs": 2,
        },
        "seeds": {"method": "grad_cam", "spread": False, "image_size": 32, "batch_size": 4},
        "pseudo_masks": {"refit": False, "background": "auto", "refine": "guided"},
        "segmenter": {"image_size": 32, "batch_size": 4, "epochs": 2, "freeze_trunk": False},
    }
}


def write_folders(root, count=12):
    """`root/images/<class>/<n>.png` with `root/masks/<class>/<n>.png` beside."""
    for number in range(count):
        kind = ("blue", "red")[number % 2]
        picture, mask = _drawn(number, (kind,))
        _write(root / "images" / kind / f"{number}.png", picture)
        _write(root / "masks" / kind / f"{number}.png", mask)
    return root / "images"


def write_table(root, count=14):
    """`root/labels.csv` over `root/images`: pictures of one colour, of both and of none; masks in `root/masks`."""
    rows = ["image,blue,red"]
    for number in range(count):
        kinds = (("blue",), ("red",), ("blue", "red"), ())[number % 4]
        picture, mask = _drawn(number, kinds)
        _write(root / "images" / f"p{number}.png", picture)
        _write(root / "masks" / f"p{number}.png", mask)
        rows.append(f"p{number}.png,{int('blue' in kinds)},{int('red' in kinds)}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return root


def write_settings(path):
    path.write_text(yaml.safe_dump(SETTINGS))
    return path


def _drawn(number, kinds):
    rng = np.random.default_rng(number)
    size = (36 + number % 3, 48)
    picture = rng.integers(100, 140, (*size, 3), np.uint8)
    mask = np.zeros(size, np.uint8)
    for place, kind in enumerate(kinds):
        y, x = int(rng.integers(2, 16)), 2 + 24 * place + int(rng.integers(0, 6))
        picture[y : y + 16, x : x + 14] = (210, 30, 30) if kind == "red" else (30, 30, 210)
        mask[y : y + 16, x : x + 14] = 1 + ("blue", "red").index(kind)
    return picture, mask


def _write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
