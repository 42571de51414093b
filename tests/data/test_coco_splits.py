import numpy as np
import pytest
from miniatures import write_coco

from hedgeseg.data import CocoDataModule, coco_splits


@pytest.fixture
def coco(tmp_path):
    return write_coco(tmp_path)


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


def test_every_annotation_file_is_parsed_once(coco, monkeypatch):
    read = []
    original = coco_splits.read_instances
    monkeypatch.setattr(coco_splits, "read_instances", lambda path: read.append(path.stem) or original(path))
    module = CocoDataModule(str(coco), image_size=32)
    assert module.num_classes == 2
    module.setup()
    module.setup("predict")
    assert module.classes == module.train_dataset.classes
    assert sorted(read) == ["instances_train2014", "instances_val2014"]
    assert module.train_dataset.ids == module.predict_dataset.ids


def test_splits_of_other_categories_are_refused(coco):
    path = coco / "annotations" / "instances_val2014.json"
    path.write_text(path.read_text().replace('"person"', '"bird"'))
    with pytest.raises(ValueError, match="categories of train and val differ: \\['bird', 'person'\\]"):
        CocoDataModule(str(coco)).setup()
