import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hedgeseg.data import IMAGENET_MEAN, IMAGENET_STD, Shapes, ShapesDataModule, collate


def test_a_scene_depends_on_seed_split_and_index_alone():
    first, again = Shapes(20, "val", seed=3), Shapes(5, "val", seed=3)
    assert np.array_equal(first.image(4), again.image(4))
    assert np.array_equal(first.mask(4), again.mask(4))
    assert not np.array_equal(first.image(4), first.image(5))
    assert not np.array_equal(first.image(4), Shapes(20, "train", seed=3).image(4))
    assert not np.array_equal(first.image(4), Shapes(20, "val", seed=4).image(4))


def test_sample_layout():
    module = ShapesDataModule(num_train=8, num_val=4, num_predict=2, batch_size=4)
    module.setup("fit")
    sample = module.val_dataset[1]
    assert sample["image"].shape == (3, 128, 128)
    assert sample["image"].dtype == torch.float32
    assert sample["label"].shape == (6,)
    assert sample["mask"].dtype == torch.int64
    assert set(sample["mask"].unique().tolist()) - {0} == {i + 1 for i in sample["label"].nonzero().flatten().tolist()}
    assert set(sample["box_labels"].tolist()) == set(sample["label"].nonzero().flatten().tolist())
    assert sample["id"] == "val_00001"
    assert sample["size"].tolist() == [128, 128]
    mean, std = torch.tensor(IMAGENET_MEAN)[:, None, None], torch.tensor(IMAGENET_STD)[:, None, None]
    undone = (sample["image"] * std + mean) * 255
    original = torch.from_numpy(module.val_dataset.image(1)).permute(2, 0, 1)
    assert (undone - original).abs().max() < 0.01


def test_module_gives_three_disjoint_sets_in_one_layout():
    module = ShapesDataModule(num_train=10, num_val=4, num_predict=2, batch_size=4, image_size=64)
    module.setup()
    assert module.num_classes == len(module.classes) == 6
    train, val, predict = (
        list(loader) for loader in (module.train_dataloader(), module.val_dataloader(), module.predict_dataloader())
    )
    assert [len(batch["id"]) for batch in train] == [4, 4]
    assert [len(batch["id"]) for batch in val + predict] == [4, 2]
    assert val[0]["image"].shape == (4, 3, 64, 64)
    assert len(val[0]["boxes"]) == 4


def test_workers_draw_the_same_scenes():
    data = Shapes(6, image_size=32)
    alone = collate([data[i] for i in range(6)])
    loader = DataLoader(data, batch_size=6, num_workers=1, collate_fn=collate)
    assert torch.equal(next(iter(loader))["image"], alone["image"])


def test_bad_arguments():
    with pytest.raises(ValueError, match="empty"):
        Shapes(0)
    with pytest.raises(ValueError, match="split must be one of"):
        Shapes(3, "holdout")
    with pytest.raises(ValueError, match="at least 32"):
        Shapes(3, image_size=16)
    with pytest.raises(ValueError, match="batch_size"):
        ShapesDataModule(batch_size=0)
    with pytest.raises(RuntimeError, match="call setup"):
        ShapesDataModule().train_dataloader()
