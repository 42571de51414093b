import numpy as np
import pytest
from PIL import Image

from hedgeseg.data import FolderDataModule
from hedgeseg.data.class_folders import read_class_folders
from hedgeseg.data.table_images import read_labelled_table


def picture(path, value=100, size=(20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


@pytest.fixture
def zoo(tmp_path):
    for name in ("cat/a.png", "cat/deep/b.jpg", "ant/a.png", "ant/c.PNG"):
        picture(tmp_path / "zoo" / name)
    (tmp_path / "zoo" / "cat" / "notes.txt").write_text("no image")
    return tmp_path / "zoo"


def table(root, text):
    for i in range(4):
        picture(root / "images" / f"{i}.png")
    (root / "labels.csv").write_text(text)
    return read_labelled_table(root, "labels.csv")


def test_class_folders(zoo):
    found = read_class_folders(zoo)
    assert found.names == ("ant", "cat")
    assert [(entry.id, entry.names) for entry in found.entries] == [
        ("ant__a", ("ant",)),
        ("ant__c", ("ant",)),
        ("cat__a", ("cat",)),
        ("cat__deep__b", ("cat",)),
    ]


def test_module_over_class_folders_is_multiclass(zoo):
    module = FolderDataModule(str(zoo), train_fraction=0.5, image_size=16, batch_size=2)
    assert module.num_classes == 2
    module.setup()
    batch = next(iter(module.predict_dataloader()))
    assert batch["label"].tolist() == [0, 0]
    assert batch["image"].shape == (2, 3, 16, 16)
    assert "mask" not in batch
    assert len(module.train_dataset) == len(module.val_dataset) == 2


def test_train_and_val_folders_are_the_split(tmp_path):
    for name in ("train/x/1.png", "train/y/1.png", "val/x/1.png", "val/y/2.png"):
        picture(tmp_path / name)
    module = FolderDataModule(str(tmp_path), image_size=16, predict="val")
    module.setup()
    assert module.train_dataset.ids == ["train__x__1", "train__y__1"]
    assert module.predict_dataset.ids == ["val__x__1", "val__y__2"]
    picture(tmp_path / "val" / "z" / "1.png")
    with pytest.raises(ValueError, match=r"differ in their classes: no training image shows \['z'\]"):
        FolderDataModule(str(tmp_path)).setup()


def test_masks_of_class_folders(zoo):
    for name, value in (("ant/a", 1), ("ant/c", 1), ("cat/a", 2), ("cat/deep/b", 2)):
        path = zoo.parent / "masks" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30), value, np.uint8)).save(path)
    module = FolderDataModule(str(zoo), train_fraction=0, image_size=[16, 24])
    module.setup()
    assert [int(module.val_dataset[i]["mask"].unique()) for i in range(4)] == [1, 1, 2, 2]


def test_masks_of_a_given_split(tmp_path):
    for part, value in (("train", 1), ("val", 255)):
        picture(tmp_path / part / "x" / "1.png")
        picture(tmp_path / part / "y" / "1.png")
        path = tmp_path / "masks" / part / "x" / "1.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((20, 30), value, np.uint8)).save(path)
    module = FolderDataModule(str(tmp_path), image_size=16, mask_values={1: "x", 255: "void"})
    module.setup()
    assert np.unique(module.train_dataset.mask(0)).tolist() == [1]
    assert module.val_dataset[0]["mask"].unique().tolist() == [255]
    assert module.val_dataset.mask(1) is None


def test_corrupt_files_of_one_name_are_counted_each(zoo):
    for name in ("ant", "cat"):
        (zoo / name / "a.png").write_bytes(b"no image")
    module = FolderDataModule(str(zoo), train_fraction=0, image_size=16)
    with pytest.warns(UserWarning, match=r"2 of 4 images used; 2 unreadable: .*ant/a\.png"):
        module.setup()
    assert len(module.val_dataset) == 2


def test_table_of_class_names(tmp_path):
    found = table(tmp_path, "image,classes\n0.png,cat\n1.png,dog;cat\n2.png,dog;polar bear\n")
    assert found.names == ("cat", "dog", "polar bear")
    assert [entry.names for entry in found.entries] == [("cat",), ("dog", "cat"), ("dog", "polar bear")]


def test_multi_hot_table(tmp_path):
    found = table(tmp_path, "file,dog,cat\n0.png,0,1\n1.png,1,1\n2.png,0,0\n")
    assert found.names == ("dog", "cat")
    assert [entry.names for entry in found.entries] == [("cat",), ("dog", "cat"), ()]


def test_module_over_a_table_with_masks(tmp_path):
    table(tmp_path, "image,dog,cat\n0.png,0,1\n1.png,1,1\n2.png,0,0\n3.png,1,0\n")
    (tmp_path / "masks").mkdir()
    for i in range(4):
        mask = np.zeros((20, 30), np.uint8)
        mask[5:15, 6:18] = 2
        Image.fromarray(mask).save(tmp_path / "masks" / f"{i}.png")
    module = FolderDataModule(str(tmp_path), csv="labels.csv", task="multilabel", train_fraction=0, image_size=[40, 60])
    module.setup()
    batch = next(iter(module.val_dataloader()))
    assert batch["label"].tolist() == [[0, 1], [1, 1], [0, 0], [1, 0]]
    expected = np.zeros((40, 60), np.int64)
    expected[10:30, 12:36] = 2
    assert np.array_equal(batch["mask"][0].numpy(), expected)


def test_corrupt_files_are_named_skipped_and_counted(zoo):
    (zoo / "cat" / "a.png").write_bytes(b"\x89PNG\r\n")
    module = FolderDataModule(str(zoo), train_fraction=0, image_size=16)
    with pytest.warns(UserWarning, match=r"3 of 4 images used; 1 unreadable: a\.png"):
        module.setup()
    assert len(module.val_dataset) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs a header"),
        ("0.png,cat\n", "needs a header"),
        ("image,dog,cat\n0.png,1\n", "line 2: 2 cells, the header has 3"),
        ("image,dog,cat\n0.png,1,0\n1.png,1,maybe\n", "line 3: 'maybe' is neither 0 nor 1"),
    ],
)
def test_broken_tables(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        table(tmp_path, text)


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere not found"):
        read_class_folders(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="has no class folders"):
        read_class_folders(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"labels\.csv not found"):
        read_labelled_table(tmp_path, "labels.csv")


def test_several_classes_in_a_multiclass_table(tmp_path):
    table(tmp_path, "image,classes\n0.png,cat\n1.png,dog cat\n2.png,dog\n")
    with pytest.raises(ValueError, match=r"image '1' shows 2 classes; .*task='multilabel' takes any number"):
        FolderDataModule(str(tmp_path), csv="labels.csv", task="multiclass").setup()
    assert FolderDataModule(str(tmp_path), csv="labels.csv").task == "multilabel"


def test_what_a_crop_keeps_at_least_is_told_where_the_pictures_are(zoo):
    for module, share in ((FolderDataModule(str(zoo), min_scale=0.9), 0.9), (FolderDataModule(str(zoo)), 0.5)):
        module.setup("fit")
        crop = module.train_transform.transforms[0]
        assert crop.scale == (share, 1.0)
    with pytest.raises(ValueError, match="min_scale"):
        FolderDataModule(str(zoo), min_scale=1.5).train_transform  # noqa: B018
