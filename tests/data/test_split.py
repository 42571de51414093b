from collections import Counter

import pytest
from lightning.pytorch import Trainer
from test_class_folders import pictures

from hedgeseg.data import FolderDataModule
from hedgeseg.data.split import stratified_split
from hedgeseg.data.split_list import read_split_list
from hedgeseg.models import Classifier

LABELS = [(0,)] * 80 + [(1,)] * 10 + [(2,)] * 2 + [(3,)] + [()] * 200 + [(0, 4)] * 10


def test_every_class_and_the_negatives_are_shared_out_alike():
    for seed in range(5):
        train, val = stratified_split(LABELS, 0.8, seed)
        assert sorted(train + val) == list(range(len(LABELS)))
        learnt, kept = (Counter(LABELS[i] for i in side) for side in (train, val))
        assert (learnt[(1,)], learnt[(2,)], learnt[(3,)], learnt[()], learnt[(0, 4)]) == (8, 1, 1, 160, 8)
        assert kept[(2,)] == 1
        assert learnt[(0,)] == 64
    assert stratified_split(LABELS, 0.8, 0)[0] != stratified_split(LABELS, 0.8, 1)[0]
    assert stratified_split(LABELS, 0.8, 0) == stratified_split(LABELS, 0.8, 0)


def test_groups_stay_together():
    groups = [None if i % 5 == 0 else f"g{i % 40}" for i in range(len(LABELS))]
    train, val = stratified_split(LABELS, 0.7, 0, groups)
    assert not {groups[i] for i in train} & {groups[i] for i in val} - {None}
    with pytest.raises(ValueError, match="3 images in 1 group: nothing is left to validate on"):
        stratified_split([(0,), (1,), ()], 0.8, 0, ["p"] * 3)


def test_classes_of_one_image_each_are_drawn():
    train, val = stratified_split([(i,) for i in range(5)], 0.6, 0)
    assert (len(train), len(val)) == (3, 2)
    with pytest.raises(ValueError, match="leaves no image to learn from or to validate on"):
        stratified_split([(0,), (1,)], 0.9, 0)


def test_nothing_to_learn_from():
    assert stratified_split(LABELS, 0, 0) == ([], list(range(len(LABELS))))


def test_the_split_is_written_beside_the_run_and_can_be_repeated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = pictures(tmp_path / "zoo", *(f"{name}/{i}.png" for name in ("cat", "dog", "good") for i in range(5)))

    def fit(folder, data):
        quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
        runner = Trainer(accelerator="cpu", max_epochs=1, logger=False, default_root_dir=folder, **quiet)
        runner.fit(Classifier(2), data)

    def data(**more):
        return FolderDataModule(str(root), background="good", image_size=16, batch_size=4, **more)

    first = data()
    fit(tmp_path / "run", first)
    listed = read_split_list(tmp_path / "run" / "split.csv")
    assert listed == dict.fromkeys(first.train_dataset.ids, "train") | dict.fromkeys(first.val_dataset.ids, "val")
    lines = (tmp_path / "run" / "split.csv").read_text().splitlines()
    assert lines[0] == "id,split,classes,group"
    assert {line.split(",")[2] for line in lines[1:]} == {"cat", "dog", ""}
    again = data(seed=7, split=str(tmp_path / "run" / "split.csv"))
    again.setup()
    assert again.train_dataset.ids == first.train_dataset.ids
    pictures(root, "cat/new.png")
    with pytest.raises(ValueError, match=r"does not list 1 images of .*, such as 'cat__new'"):
        data(split=str(tmp_path / "run" / "split.csv")).setup()
    with pytest.raises(FileNotFoundError, match="'given', 'random' or the"):
        data(split="sometimes").setup()
    fit(tmp_path, data())  # a run that keeps nothing
    assert not (tmp_path / "split.csv").exists()
