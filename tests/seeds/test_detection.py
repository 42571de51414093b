import numpy as np
import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision

from hedgeseg.seeds import Seed
from hedgeseg.seeds.components import regions, seed_objects
from hedgeseg.seeds.detection import DetectionPrecision


def noisy(seed, share=0.3, side=40):
    """A mask of two classes in blobs, and one that differs from it."""
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, 3, (side // 8, side // 8)), np.ones((8, 8))).astype(np.uint8)
    found = np.where(rng.random(truth.shape) < share, rng.integers(0, 3, truth.shape), truth).astype(np.uint8)
    scores = torch.from_numpy(np.stack([rng.random(truth.shape) * (found == c + 1) for c in (0, 1)])).float()
    return Seed(scores, torch.tensor([0, 1]), torch.from_numpy(found)), truth


def test_it_is_the_precision_that_torchmetrics_computes():
    ours = DetectionPrecision()
    # Its own thresholds are float32: an intersection of exactly .8 fails them.
    theirs = MeanAveragePrecision(iou_type=("bbox", "segm"), iou_thresholds=np.linspace(0.5, 0.95, 10).tolist())
    theirs.warn_on_many_detections = False
    for index in range(6):
        seed, truth = noisy(index)
        found, true = seed_objects(seed), regions(truth)
        ours.update(found, true)
        first = {"boxes": found.boxes, "labels": found.labels, "masks": found.masks, "scores": found.scores}
        theirs.update([first], [{"boxes": true.boxes, "labels": true.labels, "masks": true.masks}])
    expected, values = theirs.compute(), ours.compute()
    assert 0 < values["map_segm_50"] < 1
    for kind in ("segm", "bbox"):
        assert values[f"map_{kind}"] == pytest.approx(float(expected[f"{kind}_map"]))
        assert values[f"map_{kind}_50"] == pytest.approx(float(expected[f"{kind}_map_50"]))


def test_nothing_found_and_nothing_there():
    seed, truth = noisy(0)
    empty = regions(np.zeros_like(truth))
    nothing, silent = DetectionPrecision(), DetectionPrecision()
    nothing.update(empty, regions(truth))
    silent.update(seed_objects(seed), empty)
    assert set(nothing.compute().values()) == {0.0}
    assert all(np.isnan(value) for value in silent.compute().values())


def test_thousands_of_regions_take_little_memory():
    """3,600 regions at 375 x 500: full pictures of them would be 675 MB."""
    mask = np.zeros((375, 500), np.uint8)
    mask[::5, ::10] = 1
    mask[1::5, ::10] = 1
    found = regions(mask)
    assert len(found) == 3750
    assert sum(part.nbytes for part in found.parts) < 50_000
    assert sum(1 for _ in found.run_lengths()) == 3750
