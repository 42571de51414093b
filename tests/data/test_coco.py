"""Folders in COCO's format: what is read."""

import warnings

import miniatures
import numpy as np
import pytest
import torch
from miniatures import CATEGORIES
from miniatures import write_coco_folder as write_folder
from miniatures import write_instances as write

from hedgeseg.data import VOC_CLASSES, CocoFolder, CocoFolderDataModule, collate
from hedgeseg.data.coco_instances import read_instances


def test_annotations_become_labels_boxes_and_masks(tmp_path):
    write_folder(tmp_path)
    data = CocoFolder(tmp_path)
    assert data.classes == ("crab", "fish")
    assert data.ids == ["000", "001", "002", "003"]
    assert data.labels(0) == (1,)
    assert data.labels(1) == (0, 1)
    boxes, labels = data.boxes(1)
    assert boxes.tolist() == [[6, 4, 26, 24], [10, 8, 14, 12]]
    assert labels.tolist() == [1, 0]
    expected = np.zeros((30, 40), np.uint8)
    expected[4:24, 6:26] = 2
    expected[8:12, 10:14] = 1  # the smaller object stays on top
    assert np.array_equal(data.mask(1), expected)
    sample = data[1]
    assert sample["label"].tolist() == [1, 1]
    assert sample["size"].tolist() == [30, 40]
    assert torch.equal(sample["mask"], torch.from_numpy(expected).long())


def test_mask_files_are_preferred(tmp_path):
    write_folder(tmp_path, masks=True)
    mask = CocoFolder(tmp_path).mask(0)
    assert set(np.unique(mask)) == {0, 2, 255}


def test_run_length_and_crowd(tmp_path):
    content = write_folder(tmp_path)
    content["annotations"][0] |= {"iscrowd": 1, "segmentation": {"size": [30, 40], "counts": [30, 60, 1110]}}
    write(tmp_path, content)
    data = CocoFolder(tmp_path)
    assert len(data.boxes(0)[0]) == 0
    assert data.labels(0) == (1,)
    assert np.array_equal(data.mask(0), np.pad(np.full((30, 2), 2, np.uint8), ((0, 0), (1, 37))))


def test_voc_categories_get_vocs_order(tmp_path):
    names = sorted(VOC_CLASSES, reverse=True)
    write_folder(tmp_path, categories=[{"id": i, "name": name} for i, name in enumerate(names)])
    instances = read_instances(tmp_path / "instances.json")
    assert instances.classes == VOC_CLASSES
    assert instances.class_of[names.index("cat")] == VOC_CLASSES.index("cat")


def test_module_without_training_set(tmp_path):
    write_folder(tmp_path)
    module = CocoFolderDataModule(str(tmp_path), image_size=(32, 48), batch_size=3)
    assert module.num_classes == 2  # known before setup, for the classifier
    module.setup("validate")
    batch = next(iter(module.val_dataloader()))
    assert batch["image"].shape == (3, 3, 32, 48)
    assert batch["mask"].shape == (3, 32, 48)
    assert len(module.predict_dataset) == 4
    with pytest.raises(RuntimeError, match="no train set"):
        module.train_dataloader()


def test_split_is_seeded_and_disjoint(tmp_path):
    write_folder(tmp_path, images=10)

    def ids(seed, predict="val"):
        module = CocoFolderDataModule(str(tmp_path), train_fraction=0.7, predict=predict, seed=seed, image_size=32)
        module.setup()
        return module.train_dataset.ids, module.val_dataset.ids, module.predict_dataset.ids

    train, val, predict = ids(0)
    assert len(train) == 7
    assert sorted(train + val) == [f"{i:03d}" for i in range(10)]
    assert predict == val
    assert ids(0)[0] == train
    assert ids(1)[0] != train
    assert ids(0, "train")[2] == train


def test_image_without_objects_is_a_negative(tmp_path):
    content = write_folder(tmp_path)
    content["annotations"] = [item for item in content["annotations"] if item["image_id"] != 102]
    write(tmp_path, content)
    data = CocoFolder(tmp_path)
    assert data.report.negatives == 1
    assert data.labels(data.ids.index("002")) == ()
    assert not data[data.ids.index("002")]["label"].any()


def test_a_clean_folder_does_not_warn(tmp_path):
    write_folder(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert CocoFolder(tmp_path).report.kept == 4


def test_a_mask_file_that_is_not_there_is_painted(tmp_path):
    write_folder(tmp_path, masks=True)
    (tmp_path / "masks" / "002.png").unlink()
    data = CocoFolder(tmp_path)
    assert 255 in data.mask(1)
    assert set(np.unique(data.mask(2))) == {0, 2}


def test_same_name_in_two_folders(tmp_path):
    content = write_folder(tmp_path, images=2)
    for i, folder in enumerate(("a", "b")):
        (tmp_path / "images" / folder).mkdir()
        (tmp_path / "images" / f"{i:03d}.png").rename(tmp_path / "images" / folder / "x.png")
        content["images"][i]["file_name"] = f"{folder}/x.png"
    write(tmp_path, content)
    assert CocoFolder(tmp_path).ids == ["a__x", "b__x"]


def test_boxes_alone_give_boxes_and_no_masks(tmp_path):
    content = write_folder(tmp_path)
    for item in content["annotations"]:
        del item["segmentation"]
    write(tmp_path, content)
    with pytest.warns(UserWarning, match=r"6 annotations .* no segmentation; box and label are used \(6, as in"):
        data = CocoFolder(tmp_path)
    assert [data.mask(index) for index in range(4)] == [None] * 4
    assert "mask" not in data[1]
    assert data.boxes(1)[0].tolist() == [[6, 4, 26, 24], [10, 8, 14, 12]]
    assert data.labels(1) == (0, 1)


def test_a_parent_category_takes_no_index(tmp_path):
    parents = [{"id": 0, "name": "sea", "supercategory": "none"}]
    children = [item | {"supercategory": "sea"} for item in CATEGORIES]
    unused = [{"id": 9, "name": "whale", "supercategory": "sea"}, {"id": 11, "name": "seal", "supercategory": "seal"}]
    content = write_folder(tmp_path, categories=parents + children + unused)
    assert CocoFolder(tmp_path).classes == ("crab", "fish", "whale", "seal")
    assert CocoFolder(tmp_path).labels(0) == (1,)
    content["annotations"][0]["category_id"] = 0  # somebody annotated it: then it is a class
    write(tmp_path, content)
    assert CocoFolder(tmp_path).classes == ("sea", "crab", "fish", "whale", "seal")


@pytest.mark.parametrize("missing", [("height",), ("width", "height"), ("zero",)])
def test_a_size_that_is_not_written_is_read_from_the_file(tmp_path, missing):
    content = write_folder(tmp_path)
    for entry in content["images"]:
        if missing == ("zero",):
            entry["width"] = 0
        for key in set(missing) & set(entry):
            del entry[key]
    write(tmp_path, content)
    assert CocoFolder(tmp_path).mask(1).shape == (30, 40)
    assert CocoFolder(tmp_path)[1]["mask"].max() == 2


def test_paths_as_some_tools_write_them(tmp_path):
    content = write_folder(tmp_path, images=2)
    content["images"][0]["file_name"] = "images/000.png"
    content["images"][1]["file_name"] = "images\\001.png"
    write(tmp_path, content)
    data = CocoFolder(tmp_path)
    assert data.ids == ["000", "001"]
    assert data.image(1).shape == (30, 40, 3)


def test_the_annotations_are_parsed_once(tmp_path, monkeypatch):
    write_folder(tmp_path)
    read = []
    monkeypatch.setattr("hedgeseg.data.coco.read_instances", lambda path: read.append(path) or read_instances(path))
    module = CocoFolderDataModule(str(tmp_path), train_fraction=0.5, image_size=32)
    assert module.num_classes == 2
    module.setup("fit")
    module.setup("predict")
    assert module.classes == ("crab", "fish")
    assert len(read) == 1


def test_photographs(shared):
    data = CocoFolder(shared / "data" / "coco_voc")
    assert len(data) == 231
    assert data.classes == VOC_CLASSES
    listed = (shared / "data" / "coco_voc" / "labels.csv").read_text().splitlines()[1:]
    for index in range(0, 231, 23):
        name, classes = listed[index].split(",")
        assert name == f"{data.ids[index]}.jpg"
        assert {data.classes[c] for c in data.labels(index)} == set(classes.split())
        assert set(np.unique(data.mask(index))) - {0, 255} == {c + 1 for c in data.labels(index)}
    batch = collate([data[3]])
    assert batch["mask"].shape[1:] == batch["image"].shape[2:]


@pytest.mark.parametrize(("fit", "shapes"), [("letterbox", {(64, 64)}), ("long", {(48, 64)}), ("short", {(64, 86)})])
def test_pictures_keep_their_shape(tmp_path, fit, shapes):
    write_folder(tmp_path)
    module = CocoFolderDataModule(str(tmp_path), image_size=64, batch_size=4, fit=fit, train_fraction=0.5)
    module.setup()
    batches = list(module.predict_dataloader())
    assert {tuple(batch["image"].shape[2:]) for batch in batches} == shapes
    assert len(batches) == (1 if fit == "letterbox" else 4)
    for batch in batches:
        height, width = batch["content_size"][0].tolist()
        assert abs(width / height - 4 / 3) < 0.02
    assert next(iter(module.train_dataloader()))["image"].shape[2:] == (64, 64)


def test_a_category_that_sounds_like_nothing_is_told(tmp_path):
    miniatures.write_coco_folder(tmp_path, categories=[{"id": 7, "name": "fish"}, {"id": 3, "name": "good"}])
    with pytest.warns(UserWarning, match=r"category 'good' is taken for a class.*leave it.*out of instances\.json"):
        CocoFolderDataModule(str(tmp_path), image_size=32).setup()
