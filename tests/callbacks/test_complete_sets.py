"""Metrics are over the same images at every look; one bad image costs its own panel."""

import json

import pytest
import torch
from callback_scenes import Classifier, Scenes, loader
from torch.utils.data import DataLoader

from hedgeseg.callbacks import HedgeCallback


def images_of_looks(tmp_path):
    looks = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("hedge/epoch_*/look.json"))]
    return [sorted({row["image"] for row in look["maps"]}) for look in looks], [look["metrics"] for look in looks]


class Hours(HedgeCallback):
    """Believes that an epoch takes a minute and an image a second."""

    def __init__(self, **kwargs):
        super().__init__(on_error="raise", max_images=6, **kwargs)
        self.now = 0.0
        self.budget.clock = lambda: self.now
        explain = self.explainer.function

        def slow(model, images, targets, **options):
            self.now += len(images)
            return explain(model, images, targets, **options)

        self.explainer.function = slow

    def on_train_epoch_start(self, trainer, pl_module):
        super().on_train_epoch_start(trainer, pl_module)
        self.now += 60


def test_a_tight_budget_makes_looks_rarer_not_smaller(make_trainer, tmp_path):
    callback = Hours(max_fraction=0.02)
    trainer = make_trainer(callbacks=[callback], max_epochs=12)
    with pytest.warns(UserWarning, match=r"2 of 6 images fit.*watched from now on"):
        trainer.fit(Classifier(), loader(2, 2, size=16), loader(8, size=16))
    images, metrics = images_of_looks(tmp_path)
    assert 3 < len(images) < 12
    assert all(watched == images[0] for watched in images)
    assert {look["hedge/images"] for look in metrics} == {2}
    assert callback.now <= 12 * 60 * 1.02 + 5


def test_a_look_that_is_put_off_is_told_of(make_trainer):
    with pytest.warns(UserWarning, match="the look in epoch 1 is put off"):
        make_trainer(callbacks=[Hours(max_fraction=0.02)], max_epochs=3).fit(
            Classifier(), loader(2, 2, size=16), loader(8, size=16)
        )


def test_seconds_per_look_settle_the_set_too(make_trainer, tmp_path):
    callback = Hours(max_fraction=None, max_seconds_per_epoch=5)
    with pytest.warns(UserWarning, match="2 of 6 images fit"):
        make_trainer(callbacks=[callback], max_epochs=3).fit(Classifier(), loader(2, 2, size=16), loader(8, size=16))
    images, _ = images_of_looks(tmp_path)
    assert len(images) == 3
    assert images == images[:1] * 3


class Broken(Scenes):
    """One image holds NaN."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        if index == 1:
            sample["image"][0, 0, 0] = float("nan")
        return sample


class Shielded(Classifier):
    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self(batch["image"])


def watching(**kwargs):
    return HedgeCallback(**{"max_fraction": None, "max_images": 4, **kwargs})


def test_a_bad_image_costs_its_panel_and_is_named(make_trainer, tmp_path):
    trainer = make_trainer(callbacks=[watching()], max_epochs=2)
    with pytest.warns(RuntimeWarning, match="explaining image 'scene_1', which is left out"):
        trainer.fit(Shielded(), loader(2, 2, size=16), DataLoader(Broken(4, size=16), 4))
    images, metrics = images_of_looks(tmp_path)
    assert images == [["scene_0", "scene_2", "scene_3"]] * 2
    assert trainer.callback_metrics["hedge/images"] == 3
    assert metrics[0].keys() | {"hedge/drift"} == metrics[1].keys()


def test_a_bad_image_in_a_validation_of_its_own(make_trainer, tmp_path):
    trainer = make_trainer(callbacks=[watching()])
    with pytest.warns(RuntimeWarning, match="scene_1"):
        [result] = trainer.validate(Shielded(), DataLoader(Broken(4, size=16), 4), verbose=False)
    assert result["hedge/images"] == 3
    record = json.loads((tmp_path / "hedge" / "validate" / "look.json").read_text())
    assert len({row["image"] for row in record["maps"]}) == 3


def test_a_bad_image_is_an_error_on_request(make_trainer):
    with pytest.raises(ValueError, match=r"NaN|finite"):
        make_trainer(callbacks=[watching(on_error="raise")]).validate(
            Shielded(), DataLoader(Broken(4, size=16), 4), verbose=False
        )


def test_a_look_that_lacks_an_image_logs_nothing(make_trainer, tmp_path):
    callback = watching()
    explain, calls = callback.explainer.function, []

    def fails_once(model, images, targets, **options):
        calls.append(len(images))
        if len(calls) in (2, 3):  # in the second look: together, and the first alone
            raise RuntimeError("hiccup")
        return explain(model, images, targets, **options)

    callback.explainer.function = fails_once
    trainer = make_trainer(callbacks=[callback], max_epochs=3)
    with pytest.warns(UserWarning, match="logs no metrics"):
        trainer.fit(Classifier(), loader(2, 2, size=16), loader(4, size=16))
    images, metrics = images_of_looks(tmp_path)
    assert [len(watched) for watched in images] == [4, 3, 4]
    assert [bool(look) for look in metrics] == [True, False, True]
    assert trainer.callback_metrics["hedge/images"] == 4


def test_numbers_that_json_has_no_word_for(make_trainer, tmp_path):
    callback = watching(on_error="raise")
    explain = callback.explainer.function

    def drunk(model, images, targets, **options):
        result = explain(model, images, targets, **options)
        result.logits.fill_(torch.nan)
        return result

    callback.explainer.function = drunk
    make_trainer(callbacks=[callback]).validate(Classifier(), loader(4, size=16), verbose=False)
    record = json.loads((tmp_path / "hedge" / "validate" / "look.json").read_text())
    assert [row["score"] for row in record["maps"]] == [None] * len(record["maps"])


def test_a_mask_that_cannot_be_read_costs_the_mask_only(make_trainer, tmp_path):
    class Odd(Scenes):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return {**sample, "mask": sample["mask"] / 255}  # what ToTensor() makes of ids

    trainer = make_trainer(callbacks=[watching()], max_epochs=1)
    with pytest.warns(RuntimeWarning, match=r"reading the masks.*0\.00.*expected ids"):
        trainer.fit(Classifier(), loader(2, 2, size=16), DataLoader(Odd(4, size=16), 4))
    assert trainer.callback_metrics["hedge/images"] == 4
    assert "hedge/pointing_game" not in trainer.callback_metrics
