import json
import re

import pytest
import torch
from callback_scenes import CLASSES, Classifier, Scenes, loader, small_network
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

from hedgeseg.callbacks import DatasetAudit
from hedgeseg.seeds.manifest import FolderMismatchError

pytest.importorskip("sklearn")


def trainer(*callbacks, **options):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    return Trainer(callbacks=list(callbacks), enable_model_summary=False, **{**quiet, **options})


def audited(folder, module=None, data=None, **options):
    torch.manual_seed(0)
    module = Classifier(small_network()) if module is None else module
    audit = DatasetAudit(str(folder), **options)
    trainer(audit).validate(module, loader(10) if data is None else data, verbose=False)
    return audit


def result(folder):
    return json.loads((folder / "audit.json").read_text())


class Cheating(nn.Module):
    """Sees a class by its bright colour, and class 0 also by a checkerboard, which is stronger."""

    def __init__(self):
        super().__init__()
        self.see = nn.Conv2d(3, 8, 4, padding=2, bias=True)
        with torch.no_grad():
            self.see.weight.zero_()
            self.see.bias.fill_(-12.0)
            board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(2, 2)
            for colour in range(3):
                self.see.weight[colour, colour] = 1.0
                self.see.weight[colour, [c for c in range(3) if c != colour]] = -0.5
            for shift in range(2):  # the board in both phases
                self.see.weight[3 + shift] = board.roll(shift, 1)
            self.see.bias[3:5] = -60.0
            self.see.bias[5:] = -1e3
        self.head = nn.Linear(8, 3, bias=True)
        with torch.no_grad():
            self.head.weight.zero_()
            for colour in range(3):
                self.head.weight[colour, colour] = 2.0
            self.head.weight[0, 3:5] = 8.0
            self.head.bias.fill_(-0.5)

    def forward(self, images):
        return self.head(torch.relu(self.see(images)).mean((2, 3)))


class TaggedScenes(Scenes):
    """Every third picture of class 0 has a checkerboard in it."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        if self.tagged(index):
            y, x = 2 + index % 5, 3 + index % 7
            board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(3, 3) * 2
            sample["image"][:, y : y + 6, x : x + 6] = board
        return sample

    def tagged(self, index):
        shown = {index % 3, (index // 3) % 3}
        return 0 in shown and index % 4 == 0


def test_a_planted_cheat_is_flagged_first_and_the_removal_shows_it(tmp_path):
    scenes = TaggedScenes(180, 40)
    audit = audited(tmp_path, Classifier(Cheating()), DataLoader(scenes, 30))
    first = audit.findings.clusters[0]
    assert first.flagged
    assert first.class_index == 0
    assert sum(cluster.flagged for cluster in audit.findings.clusters) == 1
    found = {audit.findings.evidence[i].id for i in first.members}
    planted = {f"scene_{i}" for i in range(180) if scenes.tagged(i)}
    assert len(found & planted) >= 0.9 * len(planted)
    assert len(found - planted) <= 0.05 * len(found)
    assert first.removal_drop > first.control_drop + 0.1
    stored = result(tmp_path)
    assert stored["clusters"][0]["flagged"]
    assert stored["clusters"][0]["class"] == CLASSES[0]
    assert set(stored["clusters"][0]["images"]) == found
    assert stored["images"][0]["reasons"]
    assert stored["images"][0]["id"] in found


def test_nothing_is_flagged_where_nothing_was_planted(tmp_path):
    audit = audited(tmp_path, Classifier(Cheating()), DataLoader(Scenes(180, 40), 30))
    assert not any(cluster.flagged for cluster in audit.findings.clusters)


def test_every_image_has_its_numbers_and_the_page_needs_nothing_else(tmp_path):
    audited(tmp_path)
    stored = result(tmp_path)
    assert {image["id"] for image in stored["images"]} == {f"scene_{i}" for i in range(10)}
    numbers = {"border", "corners", "centre", "entropy", "positive_ratio", "mirror", "pointing", "outside_inside"}
    for image in stored["images"]:
        assert numbers | {"removal_drop", "control_drop", "cluster", "reasons", "class", "probability"} <= image.keys()
    assert sum(cluster["size"] for cluster in stored["clusters"]) == len(stored["images"])
    page = (tmp_path / "audit.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert page.count("data:image/jpeg") >= len(stored["images"])


def test_an_audit_that_was_stopped_goes_on_and_ends_the_same(tmp_path, monkeypatch):
    whole = audited(tmp_path / "whole")
    looked = []
    audit = DatasetAudit(str(tmp_path / "stopped"))
    torch.manual_seed(0)
    module = Classifier(small_network())
    look = DatasetAudit._look

    def until_the_second(self, network, subjects, split, device):
        looked.append(len(subjects))
        if len(looked) == 2:
            raise KeyboardInterrupt
        return look(self, network, subjects, split, device)

    monkeypatch.setattr(DatasetAudit, "_look", until_the_second)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trainer(audit).validate(module, loader(10), verbose=False)
    assert not (tmp_path / "stopped" / "audit.json").exists()
    counted = []

    def count(self, network, subjects, split, device):
        counted.append(len(subjects))
        return look(self, network, subjects, split, device)

    monkeypatch.setattr(DatasetAudit, "_look", count)
    audited(tmp_path / "stopped")
    assert sum(counted) == 6  # of ten, four were known
    assert result(tmp_path / "stopped") == result(tmp_path / "whole")
    assert whole.findings is not None


def test_one_bad_image_costs_one_image(tmp_path):
    class Broken(Scenes):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            if index == 2:
                sample["image"][0, 0, 0] = torch.nan
            return sample

    with pytest.warns(UserWarning, match="scene_2"):
        audited(tmp_path, data=DataLoader(Broken(8), 4))
    stored = result(tmp_path)
    assert list(stored["failed"]) == ["scene_2"]
    assert len({image["id"] for image in stored["images"]}) == 7


def test_images_of_no_class_are_passed_over(tmp_path):
    class Negatives(Scenes):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            if index % 2:
                sample["label"] = torch.zeros(3)
            return sample

    audited(tmp_path, data=DataLoader(Negatives(6), 3))
    assert {image["id"] for image in result(tmp_path)["images"]} == {"scene_0", "scene_2", "scene_4"}


def test_another_network_is_refused(tmp_path):
    audited(tmp_path)
    torch.manual_seed(5)
    with pytest.raises(FolderMismatchError, match="weights"):
        trainer(DatasetAudit(str(tmp_path))).validate(Classifier(small_network()), loader(4), verbose=False)


def test_what_moved_between_two_networks_comes_sorted(tmp_path):
    audited(tmp_path / "old")
    torch.manual_seed(9)
    other = Classifier(small_network())
    audited(tmp_path / "new", other, against=str(tmp_path / "old"))
    moved = [row["moved"] for row in result(tmp_path / "new")["changes"]]
    assert moved == sorted(moved, reverse=True)
    assert moved[0] > 0.01
    assert "What moved" in (tmp_path / "new" / "audit.html").read_text()
    audited(tmp_path / "same", against=str(tmp_path / "old"))
    assert max(row["moved"] for row in result(tmp_path / "same")["changes"]) == pytest.approx(0, abs=1e-6)


def test_a_bound_that_is_crossed_is_told(tmp_path):
    with pytest.warns(UserWarning, match=r"mirror is .*, below 2"):
        audited(tmp_path, alerts={"mirror": 2, "border": 1.0, "flagged": 100})


def test_a_fit_is_left_alone(tmp_path):
    audit = DatasetAudit(str(tmp_path / "audit"))
    trainer(audit, max_epochs=1).fit(Classifier(small_network()), loader(4), loader(4))
    assert not (tmp_path / "audit").exists()


def test_a_method_without_a_layer_and_a_class_index_per_image(tmp_path):
    class Single(Scenes):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return {**sample, "label": torch.tensor(index % 3)}

    module = Classifier(small_network())
    module.validation_step = lambda batch, batch_idx, dataloader_idx=0: None
    audited(tmp_path, module, DataLoader(Single(6), 3), method="gradient", split="shown", mirror=False)
    assert {image["split"] for image in result(tmp_path)["images"]} == {"shown"}
