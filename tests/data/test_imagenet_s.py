import numpy as np
import pytest
from miniatures import write_imagenet_s
from PIL import Image

from hedgeseg.data import ImageNetSDataModule
from hedgeseg.data.imagenet_s import imagenet_s_records


@pytest.fixture
def root(tmp_path):
    return write_imagenet_s(tmp_path)


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
    for number in range(998):
        (root / "validation" / f"x{number}").mkdir()
    with pytest.raises(ValueError, match="1000 classes; ImageNet-S has 50, 300 or 919"):
        imagenet_s_records(root, "validation")


@pytest.mark.parametrize("count", [300, 919])
def test_more_classes_than_eight_bits_hold(tmp_path, count):
    wnids = [f"n{number:08d}" for number in range(count)]
    for wnid in wnids:
        (tmp_path / "validation" / wnid).mkdir(parents=True)
        (tmp_path / "validation-segmentation" / wnid).mkdir(parents=True)
    shown = (253, 254, 255, count - 1)  # around the 255 that is void elsewhere, and the last
    for label in shown:
        mask = np.zeros((20, 30, 3), np.uint8)
        mask[5:10, 6:12, :2] = ((label + 1) % 256, (label + 1) // 256)
        mask[0, :, :2] = (1000 % 256, 1000 // 256)
        folder = tmp_path / "validation-segmentation" / wnids[label]
        Image.fromarray(mask).save(folder / f"a{label}.png")
        Image.fromarray(np.full((20, 30, 3), 60, np.uint8)).save(
            tmp_path / "validation" / wnids[label] / f"a{label}.JPEG"
        )
    module = ImageNetSDataModule(str(tmp_path), image_size=[40, 60], batch_size=4)
    assert module.num_classes == count
    module.setup()
    assert module.val_dataset.void == 65535
    batch = next(iter(module.val_dataloader()))
    assert batch["label"].tolist() == list(shown)
    assert batch["void"].tolist() == [65535] * 4
    for mask, label in zip(batch["mask"].numpy(), shown, strict=True):
        expected = np.zeros((40, 60), np.int64)
        expected[10:20, 12:24] = label + 1
        expected[:2] = 65535
        assert np.array_equal(mask, expected)


def test_wide_masks_go_through_augmentation(tmp_path):
    from hedgeseg.data import Record, RecordedImages, train_transform

    ids = np.zeros((64, 64), np.uint16)
    ids[16:48, 16:48] = 900
    ids[:8] = 65535
    Image.fromarray(ids).save(tmp_path / "mask.png")
    Image.fromarray(np.repeat((ids == 900).astype(np.uint8)[..., None] * 255, 3, 2)).save(tmp_path / "image.png")
    record = Record("x", tmp_path / "image.png", (899,), tmp_path / "mask.png")
    names = [str(number) for number in range(919)]
    data = RecordedImages("wide", names, [record], "multiclass", train_transform(64), random=True)
    for _ in range(5):
        sample = data[0]
        assert set(sample["mask"].unique().tolist()) <= {0, 900, 65535}
        bright = sample["image"][0] > sample["image"][0].mean()
        assert ((sample["mask"] == 900) == bright).float().mean() > 0.9
    Image.fromarray(ids.astype(np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match="expected ids of 16 bits"):
        data[0]


def test_classes_must_agree(root):
    (root / "train" / "n03").mkdir()
    with pytest.raises(ValueError, match=r"differ in \['n03'\]"):
        ImageNetSDataModule(str(root)).setup()
