import warnings

import miniatures
import numpy as np
import pytest
import torch
from miniatures import CATEGORIES, polygon
from miniatures import write_coco_folder as write_folder
from miniatures import write_instances as write
from PIL import Image

from hedgeseg.data import VOC_CLASSES, CocoFolder, CocoFolderDataModule, collate
from hedgeseg.data.coco_instances import read_instances
from hedgeseg.data.orientation import turned, turned_boxes


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


def test_a_mask_file_that_is_not_there_is_painted(tmp_path):
    write_folder(tmp_path, masks=True)
    (tmp_path / "masks" / "002.png").unlink()
    data = CocoFolder(tmp_path)
    assert 255 in data.mask(1)
    assert set(np.unique(data.mask(2))) == {0, 2}


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


def turn_picture(path, orientation):
    """The same picture to look at, stored as a camera would that was held in another way."""
    back = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = turned(np.asarray(Image.open(path).convert("RGB")), back)
    Image.fromarray(pixels).save(path, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("drawn", ["stored", "upright"])
@pytest.mark.parametrize("files", [False, True])
@pytest.mark.parametrize("verify", [False, True])
def test_annotations_of_pictures_that_cameras_turned(tmp_path, orientation, drawn, files, verify):
    """The object is bright: wherever the annotation was drawn, mask and box must be on the bright pixels."""
    content = write_folder(tmp_path, masks=files)
    boxes = [[[5 + i, 4, 25 + i, 24]] for i in range(4)]
    back = {6: 8, 8: 6}.get(orientation, orientation)
    for i in range(4):
        turn_picture(tmp_path / "images" / f"{i:03d}.png", orientation)
    if drawn == "stored":
        content["annotations"] = [item for item in content["annotations"] if item["category_id"] == 7]
        height, width = (40, 30) if orientation > 4 else (30, 40)
        for i, item in enumerate(content["annotations"]):
            x0, y0, x1, y1 = turned_boxes(np.array(boxes[i]), back, (height, width))[0].tolist()
            item |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "segmentation": polygon(x0, y0, x1, y1)}
            content["images"][i] |= {"height": height, "width": width}
            if files:
                path = tmp_path / "masks" / f"{i:03d}.png"
                Image.fromarray(turned(np.asarray(Image.open(path)), back)).save(path)
    write(tmp_path, content)
    ambiguous = orientation in (2, 3, 4)
    if ambiguous and drawn == "upright":
        return  # nothing tells; see the test below
    data = CocoFolder(tmp_path, verify=verify)
    for i in range(4):
        image, mask = data.image(i), data.mask(i)
        assert image.shape == (30, 40, 3)
        bright = image[..., 0] == 200
        fish = (mask == 2) | (mask == 1)
        assert np.array_equal(fish, bright & (mask != 255))
        assert fish.sum() >= 380
        assert data.boxes(i)[0][0].tolist() == boxes[i][0]


def test_the_size_of_some_pictures_tells_how_the_others_were_drawn(tmp_path):
    write_folder(tmp_path)  # drawn upright, all four
    for i, orientation in enumerate((6, 3, 8, 2)):
        turn_picture(tmp_path / "images" / f"{i:03d}.png", orientation)
    data = CocoFolder(tmp_path)
    for i in range(4):
        assert np.array_equal(data.mask(i) > 0, data.image(i)[..., 0] == 200)


def test_a_picture_that_was_resized_after_it_was_annotated_is_left_out(tmp_path):
    write_folder(tmp_path)
    Image.fromarray(np.zeros((15, 20, 3), np.uint8)).save(tmp_path / "images" / "002.png")
    with pytest.warns(UserWarning, match=r"002\.png \(it was annotated at 30 x 40 but the file is 15 x 20"):
        data = CocoFolder(tmp_path)
    assert data.ids == ["000", "001", "003"]
    with pytest.raises(ValueError, match=r"image '002'.*annotated at 30 x 40"):
        CocoFolder(tmp_path, verify=False)[2]


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
