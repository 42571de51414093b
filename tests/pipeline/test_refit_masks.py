"""Pseudo-masks of seeds that are judged again by what they have in common, as the pipeline makes them."""

import numpy as np
import pytest
import torch
from PIL import Image
from pipeline_scenes import write_folders

from hedgeseg.data import FolderDataModule
from hedgeseg.models import build_network
from hedgeseg.pipeline.images import PipelineImages
from hedgeseg.pipeline.pseudo_masks import write_pseudo_masks
from hedgeseg.pipeline.settings import PipelineSettings
from hedgeseg.pipeline.stages import _looking
from hedgeseg.pipeline.work import Work
from hedgeseg.seeds import write_seed
from hedgeseg.seeds.auto_level import Auto
from hedgeseg.seeds.cutting import cut_seed
from hedgeseg.seeds.small_things import TIP


def untrained(tmp_path):
    """A pipeline over a few drawn pictures whose classifier has learnt nothing."""
    module = FolderDataModule(str(write_folders(tmp_path, 6)), train_fraction=0.7)
    settings = PipelineSettings()
    settings.classifier["arch"] = "mobilenet_v2"
    settings.seeds["image_size"] = 97
    work = Work(settings, PipelineImages(module), tmp_path / "out", accelerator="cpu")
    torch.manual_seed(0)
    network = build_network("mobilenet_v2", 2)
    work.classifier_file.parent.mkdir(parents=True)
    torch.save(network.state_dict(), work.classifier_file)
    return work


def test_masks_of_seeds_that_were_judged_again(tmp_path, monkeypatch):
    monkeypatch.setattr("hedgeseg.seeds.places.STEPS", 20)
    work = untrained(tmp_path)
    settings, dataset = work.settings, work.images.everything
    for index, name in enumerate(dataset.ids):
        height, width = dataset.image(index).shape[:2]
        scores = torch.zeros(1, height, width)
        scores[0, : height // 2] = 1
        write_seed(tmp_path / "seeds", name, cut_seed(scores, torch.tensor(dataset.labels(index)), Auto()))
    looking = _looking(work, dataset)
    shown = looking.image(0)
    assert shown.shape[0] == 3
    assert max(shown.shape[1:]) == 97
    assert shown.shape[1] < 97  # the padding is not looked at
    options = settings.pseudo_masks | {"refine": None}
    write_pseudo_masks(tmp_path / "seeds", tmp_path / "masks", dataset, options, False, looking)
    write_pseudo_masks(tmp_path / "seeds", tmp_path / "plain", dataset, options, False)
    for index, name in enumerate(dataset.ids):
        mask = np.asarray(Image.open(tmp_path / "masks" / f"{name}.png"))
        assert mask.shape == dataset.image(index).shape[:2]
        assert set(np.unique(mask).tolist()) <= {0, dataset.labels(index)[0] + 1}
        plain = np.asarray(Image.open(tmp_path / "plain" / f"{name}.png"))
        assert (plain[: mask.shape[0] // 2 - 1] > 0).all()
        assert not np.array_equal(mask, plain)


@pytest.mark.parametrize("peaked", [{0}, {0, 1}])
def test_classes_of_small_things_keep_their_seeds_and_are_cut_at_the_tip(tmp_path, monkeypatch, peaked):
    monkeypatch.setattr("hedgeseg.seeds.places.STEPS", 20)
    work = untrained(tmp_path)
    dataset = work.images.everything
    given = {}
    for index, name in enumerate(dataset.ids):
        (label,) = dataset.labels(index)
        height, width = dataset.image(index).shape[:2]
        scores = torch.zeros(1, height, width)
        scores[0, : height // 2] = 1
        if label in peaked:
            scores[0] = torch.linspace(0, 1, height)[:, None] ** 9
        given[name] = scores
        write_seed(tmp_path / "seeds", name, cut_seed(scores, torch.tensor([label]), Auto()))
    options = work.settings.pseudo_masks | {"refine": None, "small": 0.2}
    looking = _looking(work, dataset)
    write_pseudo_masks(tmp_path / "seeds", tmp_path / "masks", dataset, options, False, looking)
    for index, name in enumerate(dataset.ids):
        mask = np.asarray(Image.open(tmp_path / "masks" / f"{name}.png"))
        (label,) = dataset.labels(index)
        tip = (given[name][0] > TIP).numpy() * (label + 1)
        assert np.array_equal(mask, tip) == (label in peaked), name
