import hashlib
import shutil
import tarfile

import numpy as np
import pytest
from miniatures import voc_annotation as annotation
from miniatures import write_voc
from PIL import Image
from scipy.io import savemat
from torchvision.datasets.voc import DATASET_YEAR_DICT

from hedgeseg.data import VOC_CLASSES, VocDataModule
from hedgeseg.data.sbd import read_sbd_mask
from hedgeseg.data.voc import find_voc, read_objects, voc_records

CAT, DOG = VOC_CLASSES.index("cat"), VOC_CLASSES.index("dog")


@pytest.fixture
def voc(tmp_path):
    return write_voc(tmp_path)


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
    pointing = voc_records(voc, "train", difficult="boxes")[1]
    assert pointing.labels == strict.labels
    assert len(pointing.boxes) > len(strict.boxes)


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
    with pytest.raises(ConnectionError, match=r"VOC 2007 could not be downloaded.*by hand: get VOCtrainval"):
        VocDataModule(str(tmp_path), year=2007, download=True).prepare_data()


@pytest.fixture
def published(voc, tmp_path, server, monkeypatch):
    """The miniature as torchvision would find it: a tar on a server, with its checksum."""
    folder, address = server
    (voc / "ImageSets" / "Main" / "train.txt").write_text("2007_01\n")
    path = folder / "VOCtrainval_11-May-2012.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(tmp_path / "VOCdevkit", "VOCdevkit")
    entry = DATASET_YEAR_DICT["2012"] | {
        "url": f"{address}/{path.name}",
        "md5": hashlib.md5(path.read_bytes()).hexdigest(),
    }
    monkeypatch.setitem(DATASET_YEAR_DICT, "2012", entry)
    shutil.rmtree(tmp_path / "VOCdevkit")
    return path


def test_download_is_checked_unpacked_and_not_repeated(published, tmp_path):
    root = tmp_path / "data"
    module = VocDataModule(str(root), download=True, image_size=32)
    module.prepare_data()
    module.setup()
    assert module.train_dataset.ids == ["2007_01", "2007_02"]
    published.unlink()
    VocDataModule(str(root), download=True).prepare_data()  # all is there: nothing is fetched


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_half_a_download_is_detected(published, tmp_path):
    cut(published)  # what comes is not what was published
    with pytest.raises(ConnectionError, match=r"broken or only half downloaded.*delete it; by hand: get VOCtrainval"):
        VocDataModule(str(tmp_path / "data"), download=True).prepare_data()


def test_archives_that_lie_there_are_checked(published, tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    shutil.copy(published, root)
    with pytest.raises(FileNotFoundError, match=r"VOCtrainval_11-May-2012\.tar is whole: unpack it"):
        VocDataModule(str(root)).setup()
    cut(root / published.name)
    with pytest.raises(FileNotFoundError, match=r"tar is broken or only half downloaded"):
        VocDataModule(str(root)).setup()


def test_archive_unpacked_in_part(voc, tmp_path):
    (voc / "JPEGImages" / "2007_02.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"VOC 2012: 1 of 2 files are missing \(.*2007_02\.jpg\)"):
        VocDataModule(str(tmp_path)).setup()


@pytest.fixture
def sbd(voc, tmp_path):
    """SBD's layout: masks as MATLAB structs for an image of VOC's train, one of its val and a new one."""
    root = tmp_path / "benchmark_RELEASE" / "dataset"
    (root / "cls").mkdir(parents=True)
    shutil.rmtree(voc / "SegmentationClassAug")
    (voc / "ImageSets" / "Segmentation" / "train_aug.txt").unlink()
    shutil.copy(voc / "JPEGImages" / "2007_01.jpg", voc / "JPEGImages" / "2009_04.jpg")
    (voc / "Annotations" / "2009_04.xml").write_text(annotation(("dog", 0, (6, 5, 25, 24))))
    for name in ("2007_01", "2008_03", "2009_04"):
        ids = np.zeros((30, 40), np.uint8)
        ids[4:24, 5:25] = DOG + 1
        savemat(root / "cls" / f"{name}.mat", {"GTcls": {"Segmentation": ids, "CategoriesPresent": [DOG + 1]}})
    (root / "train.txt").write_text("2008_03\n2009_04\n")
    (root / "val.txt").write_text("2007_01\n")
    return root


@pytest.mark.parametrize("labels", ["xml", "mask"])
def test_train_aug_is_made_of_sbd(voc, sbd, tmp_path, labels):
    module = VocDataModule(str(tmp_path), train_split="train_aug", predict_split="train_aug", labels=labels)
    module.setup()
    data = module.predict_dataset
    assert data.ids == ["2007_01", "2007_02", "2009_04"]  # VOC's train and SBD's images, but not VOC's val
    assert data.labels(2) == (DOG,)
    expected = np.zeros((30, 40), np.uint8)
    expected[4:24, 5:25] = DOG + 1
    assert np.array_equal(data.mask(2), expected)
    assert set(np.unique(data.mask(0))) == {0, CAT + 1, 255}  # VOC's own mask is the finer one


def test_sbd_that_is_missing_or_broken(voc, sbd, tmp_path):
    cut(sbd / "cls" / "2009_04.mat")
    with pytest.raises(OSError, match=r"2009_04\.mat is not a mask of SBD, or broken"):
        read_sbd_mask(sbd / "cls" / "2009_04.mat")
    (sbd / "val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"val\.txt not found: SBD was unpacked only in part"):
        VocDataModule(str(tmp_path), train_split="train_aug").setup()
    shutil.rmtree(sbd)
    with pytest.raises(FileNotFoundError, match=r"train_aug\.txt not found.*made of SBD: ask for download"):
        VocDataModule(str(tmp_path), train_split="train_aug").setup()


def test_photographs_may_keep_their_shape(voc, tmp_path):
    module = VocDataModule(str(tmp_path), image_size=60, batch_size=2, keep_shape=True)
    module.setup()
    batches = list(module.predict_dataloader())
    assert [tuple(batch["image"].shape) for batch in batches] == [(1, 3, 60, 80)] * 2
    assert batches[1]["boxes"][0].tolist() == [[10, 8, 50, 48], [58, 4, 78, 24]]
    assert batches[0]["mask"].shape == (1, 60, 80)
    assert next(iter(module.train_dataloader()))["image"].shape == (2, 3, 60, 60)
    with pytest.raises(ValueError, match="keep_shape takes one number"):
        VocDataModule(str(tmp_path), image_size=[60, 80], keep_shape=True)


@pytest.mark.parametrize("drawn", ["stored", "upright"])
@pytest.mark.parametrize("labels", ["xml", "mask"])
def test_pictures_that_cameras_turned(voc, tmp_path, drawn, labels):
    """Mask and box were drawn on the pixels of the file, or on the picture as it is shown: the size of either tells."""
    stored = np.full((30, 40, 3), 90, np.uint8)
    stored[5:15, 4:30] = 220
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(voc / "JPEGImages" / "2007_01.jpg", exif=exif, quality=95)
    mask = np.where(stored[..., 0] == 220, CAT + 1, 0).astype(np.uint8)
    box, size = (5, 6, 30, 15), (40, 30)
    if drawn == "upright":
        mask, box, size = np.rot90(mask, -1), (16, 5, 25, 30), (30, 40)
    Image.fromarray(mask).save(voc / "SegmentationClass" / "2007_01.png")
    text = annotation(("cat", 0, box)).replace(
        "<width>40</width><height>30</height>", f"<width>{size[0]}</width><height>{size[1]}</height>"
    )
    (voc / "Annotations" / "2007_01.xml").write_text(text)
    module = VocDataModule(str(tmp_path), image_size=[40, 30], labels=labels)
    module.setup()
    data = module.predict_dataset
    image, ids = data.image(0), data.mask(0)
    assert image.shape[:2] == ids.shape == (40, 30)
    assert ((image[..., 1] > 155) == (ids == CAT + 1)).mean() > 0.98
    assert data.boxes(0)[0].tolist() == [[15, 4, 25, 30]]


def test_an_annotation_without_a_size(voc, tmp_path):
    path = voc / "Annotations" / "2007_01.xml"
    path.write_text(path.read_text().replace("<size><width>40</width><height>30</height></size>", ""))
    module = VocDataModule(str(tmp_path), image_size=[30, 40])
    module.setup()
    assert module.predict_dataset.boxes(0)[0].tolist() == [[5, 4, 25, 24]]
    assert module.predict_dataset.mask(0).shape == (30, 40)
