"""Folders in COCO's format: what is refused, and what costs only itself."""

import numpy as np
import pytest
from miniatures import write_coco_folder as write_folder
from miniatures import write_instances as write
from PIL import Image

from hedgeseg.data import CocoFolder, CocoFolderDataModule
from hedgeseg.data.coco_instances import read_instances


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


def test_nothing_left(tmp_path):
    write(tmp_path, write_folder(tmp_path) | {"annotations": []})
    with pytest.raises(ValueError, match="no image that can be used shows a class; 4 of 4 images used"):
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
    data = CocoFolder(tmp_path)
    with pytest.raises(ValueError, match=r"000\.png holds the ids \[3\]"):
        data.mask(0)
    with pytest.raises(ValueError, match=r"001\.png has mode RGB"):
        data.mask(1)


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


@pytest.mark.parametrize(
    "odd",
    [
        [5, 4, 25, 24],
        [5, 4, 25, 4, 25, 24],
        [[5, 4, 25, 24]],
        [[5, 4, 25, 4, 25]],
        [[5, 4, 25, 4, 25, 24, 7]],
        [],
        [[]],
        {},
        None,
        "text",
        7,
        [["5", "4", "25", "4", "25", "24"]],
        [[5, 4, float("nan"), 4, 25, 24]],
        [[5, 4, 1e300, 4, 25, 24]],
        [[5, 4, None, 4, 25, 24]],
        [[[5, 4], [25, 4], [25, 24]]],
        [{"size": [30, 40], "counts": "0`1000"}],
        {"size": [30, 40], "counts": [1, 2]},
        {"size": [30, 40], "counts": [1201, -1]},
        {"size": [30, 40], "counts": [1200.5]},
        {"size": [40, 30], "counts": [1200]},
        {"size": None, "counts": [1200]},
        {"counts": [1200]},
        {"size": [30, 40]},
        {"size": [30, 40], "counts": "xx~~"},
        {"size": [30, 40], "counts": "04"},
        {"size": [30, 40], "counts": ""},
        {"size": [30, 40], "counts": "ä"},
    ],
)
def test_a_segmentation_that_cannot_be_painted_costs_only_itself(tmp_path, odd):
    content = write_folder(tmp_path)
    content["annotations"][2]["segmentation"] = odd  # the crab of image 001; its fish has polygons
    write(tmp_path, content)
    with pytest.warns(UserWarning, match=r"4 of 4 images used; 1 annotations used in part or not at all.*annotation 3"):
        data = CocoFolder(tmp_path)
    assert list(data.report.annotations) == ["annotation 3"]
    assert data[1]["label"].tolist() == [1, 1]
    assert data.boxes(1)[0].tolist() == [[6, 4, 26, 24], [10, 8, 14, 12]]
    expected = np.zeros((30, 40), np.uint8)
    expected[4:24, 6:26] = 2
    assert np.array_equal(data.mask(1), expected)  # the fish is known to be there
    assert data.mask(3) is not None


@pytest.mark.parametrize("identifier", [None, 5])
def test_annotations_whose_ids_do_not_tell_them_apart_are_all_counted(tmp_path, identifier):
    content = write_folder(tmp_path)
    for item in content["annotations"]:
        item |= {"id": identifier, "segmentation": [1, 2, 3, 4]}
    write(tmp_path, content)
    with pytest.warns(UserWarning, match="6 annotations used in part"):
        assert len(CocoFolder(tmp_path).report.annotations) == 6


def test_an_object_known_by_its_box_alone_is_void_not_background(tmp_path):
    content = write_folder(tmp_path)
    del content["annotations"][1]["segmentation"]  # the fish of image 001; its crab lies inside
    write(tmp_path, content)
    with pytest.warns(UserWarning, match="1 annotations"):
        data = CocoFolder(tmp_path)
    expected = np.zeros((30, 40), np.uint8)
    expected[4:24, 6:26] = 255
    expected[8:12, 10:14] = 1
    assert np.array_equal(data.mask(1), expected)
    assert data.mask(0) is not None


@pytest.mark.parametrize("box", [None, [], [1, 2, 3], [1, 2, 0, 5], [1, 2, "x", 5], [1, 2, float("inf"), 5], "text"])
def test_a_box_that_is_none(tmp_path, box):
    content = write_folder(tmp_path)
    content["annotations"][0]["bbox"] = box
    write(tmp_path, content)
    data = CocoFolder(tmp_path)
    assert data.boxes(0)[0].tolist() == ([[5, 4, 25, 24]] if box is None else [])  # from the polygon
    assert data.mask(0).any()
    del content["annotations"][0]["segmentation"]
    write(tmp_path, content)
    with pytest.warns(UserWarning, match="its label alone is used, it has no box"):
        data = CocoFolder(tmp_path)
    assert data.labels(0) == (1,)
    assert data.mask(0) is None  # the fish is somewhere


def test_annotations_of_images_that_are_not_listed_are_named(tmp_path):
    content = write_folder(tmp_path)
    content["annotations"][0]["image_id"] = 999
    write(tmp_path, content)
    with pytest.warns(UserWarning, match=r"its image is not listed \(1, as in annotation 1\)"):
        CocoFolder(tmp_path)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("images", {"id": 100}, "2 images have the id 100"),
        ("categories", {"id": 7}, "2 categories have the id 7"),
        ("categories", {"name": "fish"}, "2 categories have the name 'fish'"),
    ],
)
def test_one_id_for_two_things(tmp_path, part, change, message):
    content = write_folder(tmp_path)
    content[part] = [content[part][0], content[part][1] | change]
    write(tmp_path, content)
    with pytest.raises(ValueError, match=message):
        read_instances(tmp_path / "instances.json")


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="train_fraction"):
        CocoFolderDataModule(str(tmp_path), train_fraction=1.0)
    with pytest.raises(ValueError, match="needs a training set"):
        CocoFolderDataModule(str(tmp_path), predict="train")
    write_folder(tmp_path, images=2)
    with pytest.raises(ValueError, match="leaves no image"):
        CocoFolderDataModule(str(tmp_path), train_fraction=0.1).setup()
