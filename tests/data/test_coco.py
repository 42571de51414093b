import warnings

import numpy as np
import pytest
import torch
from miniatures import write_coco_folder as write_folder
from miniatures import write_instances as write
from PIL import Image

from hedgeseg.data import VOC_CLASSES, CocoFolder, CocoFolderDataModule, collate
from hedgeseg.data.coco import rasterise, read_instances


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
    objects = [
        {"category_id": 7, "area": 6, "segmentation": {"size": [3, 4], "counts": [3, 6, 3]}, "iscrowd": 1},
        {"category_id": 3, "area": 0, "segmentation": []},
    ]
    assert rasterise(objects, {7: 1, 3: 0}, 3, 4).tolist() == [[0, 2, 2, 0]] * 3
    content = write_folder(tmp_path)
    content["annotations"][0]["iscrowd"] = 1
    write(tmp_path, content)
    data = CocoFolder(tmp_path)
    assert len(data.boxes(0)[0]) == 0
    assert data.labels(0) == (1,)


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


def test_broken_and_missing_images_are_named_skipped_and_counted(tmp_path):
    write_folder(tmp_path, images=5)
    (tmp_path / "images" / "001.png").write_bytes((tmp_path / "images" / "001.png").read_bytes()[:60])
    (tmp_path / "images" / "003.png").unlink()
    with pytest.warns(UserWarning, match="3 of 5 images used") as caught:
        data = CocoFolder(tmp_path)
    assert len(caught) == 1
    assert set(data.report.unreadable) == {"001.png", "003.png"}
    assert data.report.unreadable["003.png"] == "no such file"
    assert "001.png" in str(caught[0].message)
    assert data.ids == ["000", "002", "004"]
    assert data.report.kept == len(data) == 3


def test_image_without_labels_is_skipped_and_counted(tmp_path):
    content = write_folder(tmp_path)
    content["annotations"] = [item for item in content["annotations"] if item["image_id"] != 102]
    write(tmp_path, content)
    with pytest.warns(UserWarning, match=r"1 without a label: 002\.png"):
        data = CocoFolder(tmp_path)
    assert data.report.unlabelled == ["002.png"]
    assert "002" not in data.ids


def test_a_clean_folder_does_not_warn(tmp_path):
    write_folder(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert CocoFolder(tmp_path).report.kept == 4


def test_nothing_left(tmp_path):
    write(tmp_path, write_folder(tmp_path) | {"annotations": []})
    with pytest.warns(UserWarning, match="0 of 4"), pytest.raises(ValueError, match="is empty: 0 of 4 images used"):
        CocoFolder(tmp_path)


def test_mask_of_another_size_names_the_image(tmp_path):
    write_folder(tmp_path, masks=True)
    Image.fromarray(np.zeros((30, 39), np.uint8)).save(tmp_path / "masks" / "002.png")
    with pytest.raises(ValueError, match=r"mask of image '002' is 30 x 39 but the image is 30 x 40"):
        CocoFolder(tmp_path)[2]


def test_mask_that_is_missing_or_holds_unknown_ids(tmp_path):
    write_folder(tmp_path, masks=True)
    Image.fromarray(np.full((30, 40), 3, np.uint8)).save(tmp_path / "masks" / "000.png")
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "masks" / "001.png")
    (tmp_path / "masks" / "002.png").unlink()
    data = CocoFolder(tmp_path)
    with pytest.raises(ValueError, match=r"000\.png holds the ids \[3\]"):
        data.mask(0)
    with pytest.raises(ValueError, match=r"001\.png has mode RGB"):
        data.mask(1)
    with pytest.raises(FileNotFoundError, match=r"002\.png"):
        data.mask(2)


def test_missing_root_folder_or_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere not found"):
        CocoFolder(tmp_path / "nowhere")
    (tmp_path / "images").mkdir()
    with pytest.raises(FileNotFoundError, match=r"instances\.json not found"):
        CocoFolder(tmp_path)


@pytest.mark.parametrize("text", ["not json", "[]", '{"images": []}'])
def test_annotation_file_of_another_kind(tmp_path, text):
    (tmp_path / "instances.json").write_text(text)
    with pytest.raises(ValueError, match="not a COCO instances file"):
        read_instances(tmp_path / "instances.json")


def test_unknown_category(tmp_path):
    content = write_folder(tmp_path)
    content["annotations"][0]["category_id"] = 99
    write(tmp_path, content)
    with pytest.raises(ValueError, match="annotation 1 has category_id 99"):
        CocoFolder(tmp_path)


def test_same_name_in_two_folders(tmp_path):
    content = write_folder(tmp_path, images=2)
    for i, folder in enumerate(("a", "b")):
        (tmp_path / "images" / folder).mkdir()
        (tmp_path / "images" / f"{i:03d}.png").rename(tmp_path / "images" / folder / "x.png")
        content["images"][i]["file_name"] = f"{folder}/x.png"
    write(tmp_path, content)
    assert CocoFolder(tmp_path).ids == ["a__x", "b__x"]


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="train_fraction"):
        CocoFolderDataModule(str(tmp_path), train_fraction=1.0)
    with pytest.raises(ValueError, match="needs a training set"):
        CocoFolderDataModule(str(tmp_path), predict="train")
    write_folder(tmp_path, images=2)
    with pytest.raises(ValueError, match="leaves no image"):
        CocoFolderDataModule(str(tmp_path), train_fraction=0.1).setup()


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
