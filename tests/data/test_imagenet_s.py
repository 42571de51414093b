import numpy as np
import pytest
from PIL import Image

from hedgeseg.data import ImageNetSDataModule
from hedgeseg.data.imagenet_s import imagenet_s_records


@pytest.fixture
def root(tmp_path):
    for label, wnid in enumerate(("n01", "n02")):
        for split in ("train", "validation"):
            (tmp_path / split / wnid).mkdir(parents=True)
            Image.fromarray(np.full((20, 30, 3), 60, np.uint8)).save(tmp_path / split / wnid / f"{split}_{wnid}.JPEG")
        mask = np.zeros((20, 30, 3), np.uint8)
        mask[5:10, 6:12, 0] = label + 1
        mask[0] = (1000 % 256, 1000 // 256, 0)
        (tmp_path / "validation-segmentation" / wnid).mkdir(parents=True)
        Image.fromarray(mask).save(tmp_path / "validation-segmentation" / wnid / f"validation_{wnid}.png")
    return tmp_path


def test_masks_and_labels(root):
    module = ImageNetSDataModule(str(root), image_size=[40, 60], batch_size=2)
    assert module.classes == ("n01", "n02")
    module.setup()
    batch = next(iter(module.val_dataloader()))
    assert batch["label"].tolist() == [0, 1]
    expected = np.zeros((40, 60), np.int64)
    expected[10:20, 12:24] = 2
    expected[:2] = 255
    assert np.array_equal(batch["mask"][1].numpy(), expected)
    assert "mask" not in module.train_dataset[0]


def test_training_set_may_be_missing(root):
    (root / "train").rename(root / "elsewhere")
    module = ImageNetSDataModule(str(root))
    module.setup()
    assert module.train_dataset is None


def test_errors(root):
    path = root / "validation-segmentation" / "n01" / "validation_n01.png"
    Image.fromarray(np.full((20, 30, 3), (9, 0, 0), np.uint8)).save(path)
    module = ImageNetSDataModule(str(root))
    module.setup()
    with pytest.raises(ValueError, match=r"holds the ids \[9\] but there are 2 classes"):
        module.val_dataset[0]
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(path)
    with pytest.raises(ValueError, match="mode L; masks of ImageNet-S are RGB"):
        module.val_dataset[0]
    with pytest.raises(FileNotFoundError, match="prepare it from your copy of ImageNet"):
        imagenet_s_records(root, "test")
    for number in range(260):
        (root / "validation" / f"x{number}").mkdir()
    with pytest.raises(ValueError, match="262 classes; masks of eight bits tell 254 apart"):
        imagenet_s_records(root, "validation")


def test_classes_must_agree(root):
    (root / "train" / "n03").mkdir()
    with pytest.raises(ValueError, match=r"differ in \['n03'\]"):
        ImageNetSDataModule(str(root)).setup()
