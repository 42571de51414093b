import json

import numpy as np
import pytest
from PIL import Image

from hedgeseg.data import CocoDataModule


@pytest.fixture
def coco(tmp_path):
    """COCO 2014's layout: two training images and a validation image, each with a square car."""
    (tmp_path / "annotations").mkdir()
    for split, count in (("train", 2), ("val", 1)):
        (tmp_path / f"{split}2014").mkdir()
        images, objects = [], []
        for i in range(count):
            name = f"COCO_{split}2014_{i:012d}.jpg"
            Image.fromarray(np.full((20, 40, 3), 50, np.uint8)).save(tmp_path / f"{split}2014" / name)
            images.append({"id": i, "file_name": name, "width": 40, "height": 20})
            square = [[10, 5, 20, 5, 20, 15, 10, 15]]
            item = {"id": i, "image_id": i, "category_id": 3, "bbox": [10, 5, 10, 10], "area": 100, "iscrowd": 0}
            objects.append(item | {"segmentation": square})
        categories = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]
        content = {"images": images, "annotations": objects, "categories": categories}
        (tmp_path / "annotations" / f"instances_{split}2014.json").write_text(json.dumps(content))
    return tmp_path


def test_splits_labels_boxes_and_masks(coco):
    module = CocoDataModule(str(coco), image_size=[40, 80], batch_size=2)
    assert module.classes == ("person", "car")
    module.setup()
    assert len(module.train_dataset) == 2
    assert len(module.val_dataset) == 1
    batch = next(iter(module.predict_dataloader()))
    assert batch["id"] == ["COCO_train2014_000000000000", "COCO_train2014_000000000001"]
    assert batch["label"].tolist() == [[0, 1], [0, 1]]
    assert batch["boxes"][0].tolist() == [[20, 10, 40, 30]]
    expected = np.zeros((40, 80), np.int64)
    expected[10:30, 20:40] = 2
    assert np.array_equal(batch["mask"][0].numpy(), expected)


def test_missing_annotations_say_where_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"instances_val2014\.json not found: by hand: get train2014\.zip"):
        _ = CocoDataModule(str(tmp_path)).classes


def test_a_broken_image_without_verification_stops_with_its_name(coco):
    path = coco / "val2014" / "COCO_val2014_000000000000.jpg"
    path.write_bytes(path.read_bytes()[:200])
    module = CocoDataModule(str(coco))
    module.setup()
    with pytest.raises(OSError, match="COCO_val2014_000000000000"):
        module.val_dataset[0]


def test_archive_unpacked_in_part(coco):
    (coco / "train2014" / "COCO_train2014_000000000001.jpg").unlink()
    (coco / "train2014.zip").write_bytes(b"PK half")
    message = r"COCO 2014: 1 of 2 files are missing.*train2014\.zip is broken or only half downloaded"
    with pytest.raises(FileNotFoundError, match=message):
        CocoDataModule(str(coco)).setup()


def test_half_an_annotation_file(coco):
    path = coco / "annotations" / "instances_val2014.json"
    path.write_text(path.read_text()[:50])
    with pytest.raises(ValueError, match=r"instances_val2014\.json is not a COCO instances file"):
        CocoDataModule(str(coco)).setup()
