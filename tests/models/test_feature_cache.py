import json

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from PIL import Image

from hedgeseg.data import FolderDataModule, ImageSubset, PseudoMaskDataModule, collate
from hedgeseg.data.feature_cache import CachedViews, FeatureCache, collate_features
from hedgeseg.data.feature_loaders import learning_loader
from hedgeseg.data.views import DrawnViews, ViewOrder
from hedgeseg.models import Classifier, Segmenter
from hedgeseg.models.head_input import learnt_head

COUNT = 6


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        kind = ("blue", "red")[number % 2]
        picture = rng.integers(0, 255, (50 + number, 60, 3), np.uint8)
        mask = np.zeros(picture.shape[:2], np.uint8)
        mask[10:30, 5 + number : 40] = 1 + number % 2
        for name, values in (("images", picture), ("masks", mask)):
            path = tmp_path / name / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)
    module = FolderDataModule(
        str(tmp_path / "images"), masks=str(tmp_path / "masks"), train_fraction=0.5, image_size=65
    )
    module.setup("fit")
    everything = module.train_dataset.source
    module.train_dataset = ImageSubset(everything, range(COUNT), module.train_transform, random=True)
    module.val_dataset = ImageSubset(everything, range(COUNT), module.eval_transform)
    return module


@pytest.fixture
def module():
    seed_everything(0, verbose=False)
    return Segmenter(2, "resnet18", freeze_trunk=True, balance=0.5)


class Learning:
    """The data module with its learning loader over views, cached or not."""

    def __new__(cls, data, folder, views=3):
        data.train_dataloader = lambda: learning_loader(
            data, data.train_dataset, views, folder, seed=1, batch_size=2, progress=False
        )
        return data


def trainer(**more):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return Trainer(accelerator="cpu", enable_model_summary=False, limit_val_batches=0, **quiet, **more)


def test_a_view_is_the_same_whenever_it_is_drawn(data):
    views = DrawnViews(data.train_dataset, 2, seed=3)
    first, second = views[1, 0], views[1, 1]
    torch.rand(5)
    assert torch.equal(views[1, 0]["image"], first["image"])
    assert not torch.equal(first["image"], second["image"])
    with pytest.raises(ValueError, match="the same"):
        DrawnViews(data.val_dataset, 2)


def test_every_epoch_shows_every_image_once_and_all_views_in_turn():
    seen = [set(ViewOrder(5, 3, 0, lambda epoch=epoch: epoch)) for epoch in range(3)]
    assert all({index for index, _ in epoch} == set(range(5)) for epoch in seen)
    assert set.union(*seen) == {(index, view) for index in range(5) for view in range(3)}


def test_cached_samples_are_those_of_the_pictures(data, module, tmp_path):
    views = DrawnViews(data.train_dataset, 3, seed=1)
    features, name = module.frozen_part()
    cache = FeatureCache(tmp_path / "cache", views, name)
    cache.fill(features, progress=False)
    cached = CachedViews(cache, data.train_dataset)
    drawn = [(4, 2), (0, 1), (5, 0)]
    plain, batch = collate([views[v] for v in drawn]), collate_features([cached[v] for v in drawn])
    for key in ("mask", "label", "index"):
        assert torch.equal(batch[key], plain[key]), key
    for found, wanted in zip(batch["features"], features(plain["image"]), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    module.eval()
    torch.testing.assert_close(module._logits(batch), module(plain["image"]), rtol=1e-2, atol=1e-3)


def test_training_from_the_cache_is_training_from_the_pictures(data, module, tmp_path):
    found = []
    for folder in (None, tmp_path / "cache"):
        seed_everything(0, verbose=False)
        module = Segmenter(2, "resnet18", freeze_trunk=True, balance=0.5, lr=1e-3)
        trainer(max_epochs=4).fit(module, Learning(data, folder))
        found.append(module)
    assert len(list((tmp_path / "cache").glob("*/*.float16"))) == 4
    plain, cached = (dict(one.network.named_parameters()) for one in found)
    start = dict(Segmenter(2, "resnet18", freeze_trunk=True).network.named_parameters())
    moved = differing = 0.0
    for name, value in plain.items():
        if value.requires_grad:
            moved += (value - start[name]).detach().square().sum().item()
            differing += (value - cached[name]).detach().square().sum().item()
    assert differing**0.5 < 0.02 * moved**0.5


def test_a_cache_that_was_cut_short_goes_on(data, module, tmp_path, monkeypatch):
    monkeypatch.setattr("hedgeseg.data.feature_cache.CHUNK", 4)
    views = DrawnViews(data.train_dataset, 2, seed=1)
    features, name = module.frozen_part()
    whole = FeatureCache(tmp_path / "whole", views, name)
    whole.fill(features, progress=False)
    calls = []

    def dying(images):
        calls.append(len(images))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return features(images)

    with pytest.raises(KeyboardInterrupt):
        FeatureCache(tmp_path / "cut", views, name).fill(dying, progress=False)
    assert json.loads((tmp_path / "cut" / "features.json").read_text())["done"] == 4
    with pytest.raises(RuntimeError, match="4 of 12"):
        FeatureCache(tmp_path / "cut", views, name).read()
    FeatureCache(tmp_path / "cut", views, name).fill(dying, progress=False)
    for one, other in zip(sorted((tmp_path / "cut").iterdir()), sorted((tmp_path / "whole").iterdir()), strict=True):
        assert one.read_bytes() == other.read_bytes()
    with pytest.raises(ValueError, match="remove it"):
        FeatureCache(tmp_path / "cut", DrawnViews(data.train_dataset, 2, seed=2), name)


def test_the_head_of_a_classifier_learns_from_what_it_is_given(data, tmp_path):
    module = Classifier(2, "mobilenet_v2", freeze=["features"], task="multiclass")
    features, _ = module.frozen_part()
    images = torch.randn(3, 3, 65, 65)
    (given,) = features(images)
    assert given.shape == (3, 1280)
    assert module.training
    assert module.network.classifier.training
    assert not module.network.features.training
    torch.testing.assert_close(module.eval()._logits({"features": [given]}), module(images))
    assert Classifier(2, "mobilenet_v2", task="multiclass").frozen_part() is None
    assert Segmenter(2, "resnet18", freeze_trunk=False).frozen_part() is None
    assert learnt_head(Classifier(2, "resnet18", freeze=["conv1"]).network) is None
    before = {key: value.clone() for key, value in module.network.state_dict().items()}
    trainer(max_epochs=2).fit(module.train(), Learning(data, tmp_path / "cache"))
    after = module.network.state_dict()
    changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert {"classifier.1.weight"} <= changed <= {"classifier.1.weight", "classifier.1.bias"}


def test_a_data_module_of_pseudo_masks_takes_views_and_features(data, module, tmp_path):
    masks = tmp_path / "pseudo"
    for path in (tmp_path / "masks").glob("*/*.png"):
        target = masks / f"{path.parent.name}__{path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    data = FolderDataModule(str(tmp_path / "images"), train_fraction=0.5, image_size=65, batch_size=2)
    told = {"masks": str(masks), "validate_on": "pseudo"}
    wrapped = PseudoMaskDataModule(data, **told, views=2, features=str(tmp_path / "cache"))
    trainer(max_epochs=2).fit(module, wrapped)
    (index,) = (tmp_path / "cache").glob("*/features.json")
    assert json.loads(index.read_text())["done"] == 2 * len(wrapped.train_dataset)
    with pytest.raises(ValueError, match="features needs a number of views"):
        PseudoMaskDataModule(data, **told, features=str(tmp_path / "cache"))
