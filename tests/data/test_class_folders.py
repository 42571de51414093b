import numpy as np
import pytest
from PIL import Image

from hedgeseg.data import FolderDataModule
from hedgeseg.data.class_folders import read_class_folders


def pictures(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(path)
    return root


def two(folder):
    return [f"{folder}/{name}/{i}.png" for name in ("cat", "dog") for i in range(2)]


@pytest.mark.parametrize(
    ("folders", "sizes"),
    [
        (("train", "valid"), (4, 4, 4)),
        (("train", "val"), (4, 4, 4)),
        (("Training", "Validation"), (4, 4, 4)),
        (("train", "test"), (4, 4, 4)),
        (("train", "testing"), (4, 4, 4)),
        (("train", "evaluation"), (4, 4, 4)),
        (("seg_train", "seg_test"), (4, 4, 4)),
        (("train2017", "val2017"), (4, 4, 4)),
        (("Train images", "Valid images", "test"), (4, 4, 4)),
        (("train", "valid", "test"), (4, 4, 4)),
        (("train", "dev", "validation"), (4, 8, 8)),
        (("training_set", "test_set"), (4, 4, 4)),
        (("images/train", "images/val"), (4, 4, 4)),
        (("train/images", "val/images"), (4, 4, 4)),
        (("train",), (2, 2, 2)),
        (("val", "test"), (0, 4, 4)),
    ],
)
def test_folders_of_splits_are_splits_and_no_classes(tmp_path, folders, sizes):
    pictures(tmp_path, *(name for folder in folders for name in two(folder)))
    module = FolderDataModule(str(tmp_path), train_fraction=0.5)
    module.setup()
    assert module.classes == ("cat", "dog")
    found = (module.train_dataset, module.val_dataset, module.test_dataset)
    assert tuple(0 if data is None else len(data) for data in found) == sizes
    assert len(module.predict_dataset) == 4 * len(folders)


@pytest.mark.parametrize(
    "folders", [("fold1", "fold2"), ("batch_a", "batch_b", "batch_c"), ("train", "rest"), ("train_1", "train_2")]
)
def test_folders_that_repeat_the_same_folders_are_asked_about(tmp_path, folders):
    pictures(tmp_path, *(name for folder in folders for name in two(folder)))
    message = (
        rf"are {', '.join(sorted(folders))} classes, or parts of a split\? All hold the folders cat, dog.\n.*mv .*train"
    )
    with pytest.raises(ValueError, match=message):
        read_class_folders(tmp_path)


def test_a_class_may_be_called_after_a_split(tmp_path):
    pictures(tmp_path, "bullet_train/day1/a.png", "test_tube/shelf/a.png", "car/a.png")
    assert read_class_folders(tmp_path).names == ("bullet_train", "car", "test_tube")


def test_a_class_may_be_called_as_a_split(tmp_path):
    pictures(tmp_path, "bus/a.png", "train/a.png", "train/b.png", "car/deep/a.png")
    assert read_class_folders(tmp_path).names == ("bus", "car", "train")


def test_numbers_are_sorted_as_numbers(tmp_path):
    pictures(tmp_path, *(f"{i}/a.png" for i in (10, 2, 0, 1)))
    assert read_class_folders(tmp_path).names == ("0", "1", "2", "10")


def test_what_systems_and_editors_leave_is_no_data(tmp_path):
    pictures(tmp_path, "cat/a.PNG", "dog/b.JPG", "__MACOSX/cat/._a.png", ".ipynb_checkpoints/a.png", "cat/.hidden.png",
             "dog/.ipynb_checkpoints/b-checkpoint.png", "dog~/a.png", "@eaDir/a.png")  # fmt: skip
    for name in (".DS_Store", "cat/.DS_Store", "dog/Thumbs.db", "desktop.ini", "cat/a.png~", "cat/~$a.png"):
        (tmp_path / name).write_bytes(b"dropping")
    (tmp_path / "empty").mkdir()
    found = read_class_folders(tmp_path)
    assert found.names == ("cat", "dog")
    assert [entry.id for entry in found.entries] == ["cat__a", "dog__b"]


def test_images_and_masks_below_one_root(tmp_path):
    pictures(tmp_path, "images/cat/a.png", "images/dog/b.png", "masks/cat/a.png", "masks/dog/b.png")
    found = read_class_folders(tmp_path)
    assert found.names == ("cat", "dog")
    assert found.masks == tmp_path / "masks"
    assert read_class_folders(tmp_path / "images").masks == tmp_path / "masks"


@pytest.mark.parametrize(
    ("start", "folder", "mask"),
    [
        ("", "masks", "a.png"),
        ("", "Masks", "cat/a.png"),
        ("", "MASK", "a_mask.png"),
        ("", "annotations", "deep/a.png"),
        ("", "Labels", "cat/a.png"),
        ("train/", "ground_truth", "a.png"),
        ("images/", "segmentation", "a.png"),
    ],
)
def test_masks_among_class_folders_are_no_class(tmp_path, folder, mask, start):
    pictures(tmp_path, f"{start}cat/a.png", f"{start}dog/b.png", f"{folder}/{mask}")
    module = FolderDataModule(str(tmp_path), train_fraction=0, split="random")
    module.setup()
    assert module.classes == ("cat", "dog")
    assert len(module.val_dataset) == 2
    found = read_class_folders(tmp_path)
    assert len(module._mask_parts(module._found)) == 1
    assert found.masks == (tmp_path / folder) or len(found.beside) == 1


def test_a_folder_that_may_be_masks_or_a_class_is_asked_about(tmp_path):
    pictures(tmp_path, "mask/a.png", "face/b.png")
    with pytest.raises(
        ValueError, match=r"is .*mask a class, or a folder of masks\? None of its 1 files.*mv .*mask_class"
    ):
        read_class_folders(tmp_path)
    pictures(tmp_path, "dog/a.png", "cat/a.png")
    with pytest.raises(ValueError, match=r"may be the mask of 'cat/a' and of 'dog/a'"):
        read_class_folders(tmp_path)


def test_masks_that_match_no_image_are_counted(tmp_path):
    pictures(tmp_path, "cat/a.png", "dog/b.png", "masks/a.png", "masks/b2.png", "masks/b3.png")
    with pytest.warns(UserWarning, match=r"2 of 3 masks match no image, such as .*b2\.png"):
        FolderDataModule(str(tmp_path), train_fraction=0).setup()
    for path in (tmp_path / "masks").iterdir():
        path.unlink()
    pictures(tmp_path, "hole/images/0.png", "hole/masks/1.png")
    with pytest.warns(UserWarning, match=r"1 of 1 masks match no image"):
        FolderDataModule(str(tmp_path), train_fraction=0).setup()


def test_masks_beside_their_images_are_no_images(tmp_path):
    pictures(tmp_path, "ill/a (1).png", "ill/a (1)_mask.png", "ill/a (1)_mask_1.png", "ill/face_mask.png", "ox/b.png")
    found = read_class_folders(tmp_path)
    assert [entry.id for entry in found.entries] == ["ill__a (1)", "ill__face_mask", "ox__b"]
    assert [name for name, _ in found.beside] == ["ill/a (1)_mask.png", "ill/a (1)_mask_1.png"]


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images", "masks"),
        ("img", "mask"),
        ("photos", "ground_truth"),
        ("Images", "Labels"),
        ("deep/images", "deep/gt"),
    ],
)
@pytest.mark.parametrize("start", ["", "train/"])
def test_folders_of_images_and_masks_inside_a_class_are_pairs(tmp_path, images, masks, start):
    below = tmp_path / start
    pictures(below, f"crack/{images}/a.png", f"crack/{images}/b.png", "fine/c.png", "fine/masks/d.png")
    for name in ("a", "b_mask"):
        (below / "crack" / masks).mkdir(parents=True, exist_ok=True)
        mask = np.zeros((20, 30), np.uint8)
        mask[:5] = 255
        Image.fromarray(mask).save(below / "crack" / masks / f"{name}.png")
    module = FolderDataModule(str(tmp_path), train_fraction=0, split="random", background=["fine"])
    module.setup()
    assert module.classes == ("crack",)
    data = module.val_dataset
    assert len(data) == 4  # "masks" without images beside it hold pictures
    assert [i for i, name in enumerate(data.ids) if "crack" in name] == [0, 1]
    for i in (0, 1):
        assert np.array_equal(np.unique(data.mask(i)[:5]), [1])
        assert not data.mask(i)[5:].any()


def test_labels_beside_their_images_are_masks(tmp_path):
    pictures(tmp_path, "ill/part0.jpg", "ill/part0_label.bmp", "ill/wine_label.jpg", "ox/b.png")
    found = read_class_folders(tmp_path)
    assert [entry.id for entry in found.entries] == ["ill__part0", "ill__wine_label", "ox__b"]
    assert [name for name, _ in found.beside] == ["ill/part0_label.bmp"]


def test_two_files_of_one_name_are_two_images(tmp_path):
    pictures(tmp_path, "cat/a.png", "cat/a.jpg", "dog/b.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)).save(
        tmp_path / "cat/a.png"
    )
    assert [entry.id for entry in read_class_folders(tmp_path).entries] == ["cat__a_jpg", "cat__a_png", "dog__b"]


def test_png_masks_that_are_called_as_their_photographs_are_no_images(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8)
    for name in ("a", "b"):
        (tmp_path / "hole").mkdir(exist_ok=True)
        Image.fromarray(noise).save(tmp_path / "hole" / f"{name}.jpg")
        Image.fromarray(np.where(noise > 200, 255, 0).astype(np.uint8)).save(tmp_path / "hole" / f"{name}.png")
    pictures(tmp_path, "crack/c.png")
    found = read_class_folders(tmp_path)
    assert [entry.id for entry in found.entries] == ["crack__c", "hole__a", "hole__b"]
    assert [name for name, _ in found.beside] == ["hole/a.png", "hole/b.png"]
    module = FolderDataModule(str(tmp_path), train_fraction=0)
    module.setup()
    assert np.array_equal(module.val_dataset.mask(1), np.where(noise > 200, 2, 0))
    Image.fromarray(noise).save(tmp_path / "hole" / "b.png")
    assert [entry.id for entry in read_class_folders(tmp_path).entries][1:3] == ["hole__a_jpg", "hole__a_png"]


def test_what_is_left_out_is_told(tmp_path):
    pictures(tmp_path / "a", "cat/a.png", "dog/b.png", "loose.png")
    assert read_class_folders(tmp_path / "a").notes == [
        "1 images outside the class folders left out, such as loose.png"
    ]
    pictures(tmp_path / "b", *two("train"), *two("val"), "spare/a.png")
    assert read_class_folders(tmp_path / "b").notes == ["not in a folder of a split, left out: spare"]


def test_a_folder_without_classes_names_the_tables_in_it(tmp_path):
    pictures(tmp_path, "a.png")
    (tmp_path / "labels.csv").write_text("image,label\na.png,cat\n")
    with pytest.raises(ValueError, match=r"no class folders.*there is labels\.csv"):
        read_class_folders(tmp_path)


def test_photographs_and_masks_of_classes_in_one_root(tmp_path):
    pictures(tmp_path, *(f"{top}/{name}" for top in ("photos", "masks") for name in ("cat/a.png", "dog/b.png")))
    found = read_class_folders(tmp_path)
    assert [entry.id for entry in found.entries] == ["cat__a", "dog__b"]
    assert found.masks == tmp_path / "masks"
    assert found.names == ("cat", "dog")


def test_photographs_among_other_pictures_are_a_class(tmp_path):
    pictures(tmp_path, "photos/new/a.png", "drawings/old/b.png", "drawings/new/c.png")
    assert read_class_folders(tmp_path).names == ("drawings", "photos")
