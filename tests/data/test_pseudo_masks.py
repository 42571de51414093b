import json

import numpy as np
import pytest
import torch
from PIL import Image

from hedgeseg.data import ImageSubset, PseudoMaskDataModule, PseudoMasked, Shapes, ShapesDataModule


def shapes(**more):
    return ShapesDataModule(num_train=2, num_val=4, num_predict=6, batch_size=3, image_size=32, **more)


@pytest.fixture
def masks(tmp_path):
    """Masks that no scene has: class 3 in the left half, 255 on the right edge."""
    mask = np.zeros((32, 32), np.uint8)
    mask[:, :16], mask[:, 31] = 4, 255
    folder = tmp_path / "masks"
    folder.mkdir()
    for i in range(6):
        Image.fromarray(mask).save(folder / f"predict_{i:05d}.png")
    return folder


def test_pseudo_masks_are_learnt_from_and_true_ones_validated_on(masks):
    module = PseudoMaskDataModule(shapes(), str(masks), augment=False)
    module.setup()
    batch = next(iter(module.train_dataloader()))
    assert batch["mask"].shape == (3, 32, 32)
    assert batch["mask"].unique().tolist() == [0, 4, 255]
    assert all(name.startswith("predict_") for name in batch["id"])
    true = shapes()
    true.setup()
    for mine, theirs in zip(module.val_dataloader(), true.val_dataloader(), strict=True):
        assert torch.equal(mine["mask"], theirs["mask"])
        assert mine["id"] == theirs["id"]
    assert module.classes == true.classes
    assert len(module.train_dataset) == 6


def test_without_a_folder_the_same_images_keep_their_true_masks(masks):
    pseudo, true = PseudoMaskDataModule(shapes(), str(masks)), PseudoMaskDataModule(shapes())
    for module in (pseudo, true):
        module.setup()
    assert pseudo.train_dataset.ids == true.train_dataset.ids
    assert np.array_equal(true.train_dataset.mask(1), Shapes(6, "predict", image_size=32).mask(1))


def test_augmentation_moves_mask_and_image_together_and_depends_on_the_seed(masks):
    module = PseudoMaskDataModule(shapes(), str(masks), image_size=[48, 40])
    module.setup()
    torch.manual_seed(1)
    first = module.train_dataset[0]
    torch.manual_seed(1)
    again = module.train_dataset[0]
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["mask"], again["mask"])
    assert first["image"].shape == (3, 48, 40)
    assert first["mask"].shape == (48, 40)


def test_a_missing_mask_is_named_with_what_to_do(masks):
    (masks / "predict_00003.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"1 of 6 images have no mask in .*predict_00003\. Run `train.py predict`"
    ):
        PseudoMaskDataModule(shapes(), str(masks)).setup()
    module = PseudoMaskDataModule(shapes(), str(masks), missing="skip")
    module.setup()
    assert "predict_00003" not in module.train_dataset.ids
    assert len(module.train_dataset) == 5
    with pytest.raises(FileNotFoundError, match="no folder of masks"):
        PseudoMaskDataModule(shapes(), str(masks / "nowhere")).setup()
    with pytest.raises(FileNotFoundError, match="4 of 4 images"):
        PseudoMasked(Shapes(4, "train"), masks, missing="skip")


def test_masks_of_other_classes_are_refused(masks):
    (masks / "manifest.json").write_text(json.dumps({"config": {"class_names": ["cat", "dog"]}}))
    with pytest.raises(ValueError, match=r"holds masks of the classes \['cat', 'dog'\]"):
        PseudoMaskDataModule(shapes(), str(masks)).setup()
    (masks / "manifest.json").write_text(json.dumps({"config": {"class_names": list(shapes().classes)}}))
    PseudoMaskDataModule(shapes(), str(masks)).setup()
    (masks / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="not a manifest"):
        PseudoMaskDataModule(shapes(), str(masks)).setup()


def test_masks_of_another_size_or_with_unknown_ids_are_refused(masks):
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(masks / "predict_00000.png")
    Image.fromarray(np.full((32, 32), 9, np.uint8)).save(masks / "predict_00001.png")
    module = PseudoMaskDataModule(shapes(), str(masks))
    module.setup()
    with pytest.raises(ValueError, match=r"'predict_00000' is 16 x 16 but the image is 32 x 32"):
        module.train_dataset[0]
    with pytest.raises(ValueError, match=r"ids \[9\]"):
        module.train_dataset[1]


def test_learning_and_validation_stay_apart():
    class Same(ShapesDataModule):
        def setup(self, stage=None):
            super().setup(stage)
            self.predict_dataset = self.val_dataset

    with pytest.raises(ValueError, match=r"all 4 images to learn from are validated on as well.*predict: train"):
        PseudoMaskDataModule(Same(num_val=4, image_size=32)).setup()


def test_of_all_images_those_that_are_validated_are_not_learnt_from():
    class All(ShapesDataModule):
        def setup(self, stage=None):
            super().setup(stage)
            self.val_dataset = ImageSubset(self.predict_dataset, [1, 4], self.predict_dataset.transform)

    module = PseudoMaskDataModule(All(num_predict=6, image_size=32))
    module.setup()
    assert module.val_dataset.ids == ["predict_00001", "predict_00004"]
    assert module.train_dataset.ids == [f"predict_{i:05d}" for i in (0, 2, 3, 5)]


class Unmasked(ShapesDataModule):
    """Scenes nobody drew masks of."""

    def setup(self, stage=None):
        super().setup(stage)
        self.predict_dataset.mask = lambda index: None
        self.val_dataset = ImageSubset(self.predict_dataset, [1, 4], self.predict_dataset.transform)


def test_without_true_masks_the_pseudo_masks_are_validated_on_and_say_so(masks):
    module = PseudoMaskDataModule(Unmasked(num_predict=6, image_size=32), str(masks))
    module.setup()
    batch = next(iter(module.val_dataloader()))
    assert batch["id"] == ["predict_00001", "predict_00004"]
    assert batch["pseudo"].tolist() == [True, True]
    assert batch["mask"].unique().tolist() == [0, 4, 255]
    for name in batch["id"]:
        (masks / f"{name}.png").unlink()
    module = PseudoMaskDataModule(Unmasked(num_predict=6, image_size=32), str(masks))
    module.setup()
    assert list(module.val_dataloader()) == []
    with pytest.raises(ValueError, match="no validation image has a mask"):
        PseudoMaskDataModule(Unmasked(num_predict=6, image_size=32), str(masks), validate_on="true").setup()


def test_true_masks_are_not_looked_at_when_pseudo_ones_are_asked_for(masks):
    class All(ShapesDataModule):
        def setup(self, stage=None):
            super().setup(stage)
            self.val_dataset = ImageSubset(self.predict_dataset, [0], self.predict_dataset.transform)

    module = PseudoMaskDataModule(All(num_predict=6, image_size=32), str(masks), validate_on="pseudo")
    module.setup()
    assert module.val_dataset[0]["mask"].unique().tolist() == [0, 4, 255]
    module = PseudoMaskDataModule(All(num_predict=6, image_size=32), str(masks))
    module.setup()
    assert "pseudo" not in module.val_dataset[0]


def test_what_is_not_sure_enough_is_not_learnt_from(masks):
    sure = np.ones((32, 32), np.float16)
    sure[:8] = 0.4
    for i in range(6):
        np.savez(masks / f"predict_{i:05d}.npz", confidence=sure)
    module = PseudoMaskDataModule(shapes(), str(masks), augment=False, ignore_below=0.5)
    module.setup()
    mask = module.train_dataset[2]["mask"]
    assert (mask[:8] == 255).all()
    assert mask[8:].unique().tolist() == [0, 4, 255]
    (masks / "predict_00002.npz").unlink()
    with pytest.raises(ValueError, match=r"ignore_below needs the confidence.*predict_00002\.npz"):
        module.train_dataset[2]
    with pytest.raises(ValueError, match=r"confidence in \[0, 1\]"):
        PseudoMasked(Shapes(2, "predict"), masks, ignore_below=3)


def test_a_shard_of_the_prediction_set():
    ids = []
    for part in range(4):
        module = shapes()
        module.setup()
        module.predict_shard = (part, 4)
        ids += [name for batch in module.predict_dataloader() for name in batch["id"]]
    assert sorted(ids) == module.predict_dataset.ids
    module.predict_shard = (7, 8)
    with pytest.raises(ValueError, match="shard 7/8 of 6 images is empty"):
        module.predict_dataloader()
