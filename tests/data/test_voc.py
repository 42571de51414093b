import numpy as np
import pytest
from PIL import Image

from hedgeseg.data import VOC_CLASSES, VocDataModule
from hedgeseg.data.voc import find_voc, read_objects, voc_records

CAT, DOG = VOC_CLASSES.index("cat"), VOC_CLASSES.index("dog")


def annotation(*objects):
    items = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for name, difficult, (x0, y0, x1, y1) in objects
    )
    return f"<annotation><size><width>40</width><height>30</height></size>{items}</annotation>"


@pytest.fixture
def voc(tmp_path):
    """VOCdevkit/VOC2012 with three images: a cat, a cat with a difficult dog, a dog."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "Annotations", "SegmentationClass", "SegmentationClassAug"):
        (root / folder).mkdir(parents=True)
    cat, dog = ("cat", 0, (6, 5, 25, 24)), ("dog", 1, (30, 3, 39, 12))
    for name, objects in {"2007_01": (cat,), "2007_02": (cat, dog), "2008_03": (dog,)}.items():
        Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(root / "JPEGImages" / f"{name}.jpg")
        (root / "Annotations" / f"{name}.xml").write_text(annotation(*objects))
        mask = np.zeros((30, 40), np.uint8)
        for kind, _, (x0, y0, x1, y1) in objects:
            mask[y0 - 1 : y1, x0 - 1 : x1] = VOC_CLASSES.index(kind) + 1
        mask[0] = 255
        image = Image.fromarray(mask, mode="P")
        image.putpalette(list(range(256)) * 3)
        image.save(root / "SegmentationClass" / f"{name}.png")
        Image.fromarray(np.where(mask == 255, 0, mask).astype(np.uint8)).save(
            root / "SegmentationClassAug" / f"{name}.png"
        )
    lists = {
        "Segmentation/train": "2007_01\n2007_02\n",
        "Segmentation/val": "2008_03\n",
        "Segmentation/train_aug": "/JPEGImages/2007_01.jpg /SegmentationClassAug/2007_01.png\n",
        "Main/trainval": "2007_01\n2007_02\n2008_03\n",
        "Main/cat_train": "2007_01  1\n",
    }
    for name, text in lists.items():
        (root / "ImageSets" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "ImageSets" / f"{name}.txt").write_text(text)
    return root


def test_root_is_found_at_any_of_its_levels(voc, tmp_path):
    for root in (tmp_path, tmp_path / "VOCdevkit", voc):
        assert find_voc(root, 2012) == voc
    with pytest.raises(FileNotFoundError, match="unpack it so that ROOT/VOCdevkit/VOC2007"):
        find_voc(tmp_path, 2007)


def test_boxes_count_from_zero_and_exclude_the_end(voc):
    assert read_objects(voc / "Annotations" / "2007_02.xml") == [
        ("cat", (5, 4, 25, 24), False),
        ("dog", (29, 2, 39, 12), True),
    ]


def test_difficult_objects_count_if_wanted(voc):
    assert voc_records(voc, "train")[1].labels == (CAT, DOG)
    strict = voc_records(voc, "train", difficult=False)[1]
    assert strict.labels == (CAT,)
    assert strict.box_labels == (CAT,)
    assert strict.boxes == ((5, 4, 25, 24),)


def test_labels_come_from_the_mask_if_wanted(voc):
    (voc / "Annotations" / "2007_02.xml").unlink()
    assert voc_records(voc, "train", labels="mask")[1].labels == (CAT, DOG)
    with pytest.raises(FileNotFoundError, match=r"2007_02\.xml not found.*labels='mask'"):
        voc_records(voc, "train")
    with pytest.raises(ValueError, match="needs masks"):
        voc_records(voc, "trainval", "main", labels="mask")


def test_lists(voc):
    assert [record.id for record in voc_records(voc, "trainval", "main")] == ["2007_01", "2007_02", "2008_03"]
    assert all(record.mask is None for record in voc_records(voc, "trainval", "main"))
    (augmented,) = voc_records(voc, "train_aug")
    assert augmented.mask == voc / "SegmentationClassAug" / "2007_01.png"
    with pytest.raises(FileNotFoundError, match=r"test\.txt not found; lists there: \['train', 'train_aug', 'val'\]"):
        voc_records(voc, "test")


def test_mask_pixels_and_boxes_after_resizing(voc, tmp_path):
    module = VocDataModule(str(tmp_path), image_size=[60, 80], batch_size=2)
    module.setup()
    batch = next(iter(module.predict_dataloader()))
    assert batch["id"] == ["2007_01", "2007_02"]
    assert batch["label"].nonzero().tolist() == [[0, CAT], [1, CAT], [1, DOG]]
    assert batch["boxes"][1].tolist() == [[10, 8, 50, 48], [58, 4, 78, 24]]
    expected = np.zeros((60, 80), np.int64)
    expected[8:48, 10:50] = CAT + 1
    expected[4:24, 58:78] = DOG + 1
    expected[:2] = 255
    assert np.array_equal(batch["mask"][1].numpy(), expected)
    assert len(module.train_dataset) == 2
    assert len(module.val_dataset) == 1


def test_images_whose_only_object_is_difficult_have_no_label(voc, tmp_path):
    module = VocDataModule(str(tmp_path), val_split="val", predict_split="val", train_split=None, difficult=False)
    with pytest.warns(UserWarning, match="1 without a label: 2008_03"), pytest.raises(ValueError, match="val is empty"):
        module.setup()


@pytest.mark.parametrize("text", ["<annotation>", "<annotation><object><name>cat</name></object></annotation>"])
def test_broken_annotation(tmp_path, text):
    (tmp_path / "x.xml").write_text(text)
    with pytest.raises(ValueError, match=r"x\.xml is not a VOC annotation"):
        read_objects(tmp_path / "x.xml")


def test_unknown_class_and_missing_mask(voc):
    (voc / "Annotations" / "2007_01.xml").write_text(annotation(("yeti", 0, (1, 1, 5, 5))))
    with pytest.raises(ValueError, match="unknown class 'yeti'"):
        voc_records(voc, "train")
    (voc / "SegmentationClass" / "2008_03.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"2008_03\.png not found: split 'val'"):
        voc_records(voc, "val")


def test_download_that_fails_says_what_to_do(tmp_path, monkeypatch):
    def offline(**arguments):
        raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr("torchvision.datasets.VOCDetection", offline)
    with pytest.raises(ConnectionError, match=r"VOC 2007 trainval could not be downloaded.*By hand: get VOCtrainval"):
        VocDataModule(str(tmp_path), year=2007, download=True).prepare_data()
