import json

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO

from hedgeseg.seeds import Seed
from hedgeseg.seeds.formats import coco_instances, read_coco, write_coco

CLASSES = ("bird", "boat", "cat")


def seed():
    mask = torch.zeros(20, 30, dtype=torch.uint8)
    mask[2:8, 3:9], mask[12:18, 20:28], mask[2:5, 20:25] = 1, 1, 3
    mask[0] = 255
    scores = torch.stack([(mask == 1) * 0.5, (mask == 3) * 1.0])
    return Seed(scores, [0, 2], mask)


def test_pycocotools_reads_it(tmp_path, capsys):
    path = write_coco(tmp_path / "instances.json", [("a.jpg", seed())], CLASSES)
    coco = COCO(str(path))
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    assert [a["category_id"] for a in annotations] == [1, 1, 3]
    assert annotations[0]["bbox"] == [3, 2, 6, 6]
    assert annotations[0]["score"] == pytest.approx(0.5)
    painted = sum(coco.annToMask(a) * a["category_id"] for a in annotations)
    assert np.array_equal(painted, np.where(seed().mask == 255, 0, seed().mask))
    assert coco.loadCats([3])[0]["name"] == "cat"


def test_masks_come_back_without_ignore(tmp_path):
    path = write_coco(tmp_path / "x.json", [("a.jpg", seed()), ("b.jpg", seed())], CLASSES)
    masks = read_coco(path)
    assert list(masks) == ["a.jpg", "b.jpg"]
    assert np.array_equal(masks["a.jpg"], np.where(seed().mask == 255, 0, seed().mask))


def test_polygons_are_read_too(tmp_path):
    content = coco_instances([("a.jpg", seed())], CLASSES)
    content["annotations"] = [
        {"id": 1, "image_id": 1, "category_id": 2, "area": 25, "segmentation": [[5, 5, 10, 5, 10, 10, 5, 10]]}
    ]
    (tmp_path / "poly.json").write_text(json.dumps(content))
    mask = read_coco(tmp_path / "poly.json")["a.jpg"]
    assert mask[7, 7] == 2
    assert mask[0, 0] == 0


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(ValueError, match="not a COCO instances file"):
        read_coco(tmp_path / "x.json")
    with pytest.raises(FileNotFoundError):
        read_coco(tmp_path / "y.json")
