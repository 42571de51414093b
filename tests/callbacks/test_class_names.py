"""Class names through the wrappers that data comes in, and for each of several loaders."""

import json
from types import SimpleNamespace

import pytest
from callback_scenes import Classifier, Scenes, loader
from lightning.pytorch import LightningDataModule
from torch.utils.data import ConcatDataset, DataLoader, Subset, random_split

from hedgeseg.callbacks import HedgeCallback
from hedgeseg.callbacks.trainer_context import names_of


class Named(Scenes):
    def __init__(self, *names, **kwargs):
        super().__init__(**{"count": 4, "size": 16, **kwargs})
        if names:
            self.classes = names


SCENES = ("square", "disc", "bar")
WRAPPED = {
    "plain": (Named(), SCENES),
    "list": (SimpleNamespace(classes=["a", "b"]), ("a", "b")),
    "subset": (Subset(Named(), [1, 3]), SCENES),
    "random split": (random_split(Named(), [2, 2])[0], SCENES),
    "subset of a split": (Subset(random_split(Named(), [2, 2])[1], [0]), SCENES),
    "concatenated": (ConcatDataset([Named(), Named()]), SCENES),
    "concatenated, one with fewer": (ConcatDataset([Named("square", "disc"), Named()]), SCENES),
    "concatenated splits": (ConcatDataset(random_split(Named(), [2, 2])), SCENES),
    "concatenated, of other names": (ConcatDataset([Named("cat", "dog"), Named()]), ()),
    "indices": (SimpleNamespace(classes=[0, 1]), ()),
    "nothing": (None, ()),
}


@pytest.mark.parametrize("case", WRAPPED)
def test_through_wrappers(case):
    dataset, names = WRAPPED[case]
    assert names_of(dataset) == names


def rows(tmp_path):
    [path] = tmp_path.glob("hedge/epoch_*/look.json")
    return json.loads(path.read_text())["maps"]


def watching(**kwargs):
    return HedgeCallback(on_error="raise", max_images=3, **kwargs)


@pytest.mark.parametrize("as_dict", [False, True])
def test_every_loader_has_its_own(make_trainer, tmp_path, as_dict):
    data = [DataLoader(Named("cat", "dog", "cow"), 4), DataLoader(Subset(Named("car", "bus", "van"), range(4)), 4)]
    trainer = make_trainer(callbacks=[watching()], max_epochs=1)
    trainer.fit(Classifier(), loader(2), dict(zip("ab", data, strict=True)) if as_dict else data)
    found = {row["loader"]: set() for row in rows(tmp_path)}
    for row in rows(tmp_path):
        found[row["loader"]].add(row["class"])
    assert found == {"0": {"cat", "dog", "cow"}, "1": {"car", "bus", "van"}}


class Data(LightningDataModule):
    classes = ("uno", "due", "tre")

    def __init__(self, *datasets):
        super().__init__()
        self.datasets = datasets

    def train_dataloader(self):
        return loader(2, size=16)

    def val_dataloader(self):
        return [DataLoader(dataset, 4) for dataset in self.datasets]


def test_a_data_module_names_what_its_data_sets_agree_on(make_trainer, tmp_path):
    make_trainer(callbacks=[watching()], max_epochs=1).fit(Classifier(), datamodule=Data(Named(), Named()))
    assert {row["class"] for row in rows(tmp_path)} == {"uno", "due", "tre"}


def test_but_not_what_they_do_not(make_trainer, tmp_path):
    data = Data(Named(), Named("cat", "dog", "cow"))
    make_trainer(callbacks=[watching()], max_epochs=1).fit(Classifier(), datamodule=data)
    assert {row["class"] for row in rows(tmp_path)} == {"square", "disc", "bar", "cat", "dog", "cow"}


def test_given_names_come_first(make_trainer, tmp_path):
    callback = watching(class_names=["x", "y", "z"])
    make_trainer(callbacks=[callback], max_epochs=1).fit(Classifier(), datamodule=Data(Named()))
    assert {row["class"] for row in rows(tmp_path)} == {"x", "y", "z"}
