import numpy as np
import pytest
import torch
from scipy import ndimage
from torchmetrics.detection import MeanAveragePrecision

from hedgeseg.metrics import ComponentAveragePrecision, map_components

NAME = "component_average_precision"


def test_components_equal_scipy():
    maps = np.random.default_rng(0).standard_normal((30, 40)).astype(np.float32)
    maps = ndimage.gaussian_filter(maps, 1.0)
    found = map_components(torch.from_numpy(maps), threshold=0.3)
    labels, count = ndimage.label(maps > 0.3 * maps.max(), structure=np.ones((3, 3)))
    assert len(found.scores) == count > 3
    slices = ndimage.find_objects(labels)
    expected = sorted(
        (maps[labels == i + 1].max() / maps.max(), (x.start, y.start, x.stop, y.stop), (labels == i + 1).sum())
        for i, (y, x) in enumerate(slices)
    )[::-1]
    for row, (score, box, area) in enumerate(expected):
        assert found.scores[row].item() == pytest.approx(score, rel=1e-6)
        assert tuple(found.boxes[row].tolist()) == box
        assert int(found.masks[row].sum()) == area


def test_edge_cases():
    assert len(map_components(torch.zeros(5, 5)).scores) == 0
    assert len(map_components(torch.full((5, 5), -1.0)).scores) == 0
    whole = map_components(torch.full((4, 6), 2.0))
    assert whole.boxes.tolist() == [[0, 0, 6, 4]]
    specks = torch.zeros(9, 9)
    specks[::2, ::2] = torch.arange(1.0, 26).view(5, 5)
    assert len(map_components(specks, 0.0).scores) == 25
    assert map_components(specks, 0.0, max_count=2).scores.tolist() == pytest.approx([1.0, 24 / 25])
    assert len(map_components(specks, 0.0, min_area=2).scores) == 0
    with pytest.raises(ValueError, match="threshold must be in"):
        map_components(specks, 1.0)
    with pytest.raises(ValueError, match="one map"):
        map_components(specks[None])


def scene():
    """Class 0 found exactly, class 1 found half: maps, classes, target."""
    maps = torch.zeros(2, 32, 32)
    maps[0, 4:12, 4:12] = 1.0
    maps[1, 16:20, 16:24] = 0.5
    masks = torch.zeros(2, 32, 32, dtype=torch.bool)
    masks[0, 4:12, 4:12] = masks[1, 16:24, 16:24] = True
    boxes = torch.tensor([[4.0, 4, 12, 12], [16, 16, 24, 24]])
    return maps, torch.tensor([0, 1]), {"boxes": boxes, "labels": torch.tensor([0, 1]), "masks": masks}


def test_precision_of_boxes_and_masks_by_class():
    metric = ComponentAveragePrecision(num_classes=2, iou_thresholds=[0.5, 0.75])
    metric.update(*scene())
    result = metric.compute()
    assert result[f"{NAME}_classes"].tolist() == [0.0, 1.0]
    assert result[f"{NAME}_bbox_map_per_class"].tolist() == pytest.approx([1.0, 0.5])
    assert result[f"{NAME}_segm_map_per_class"].tolist() == pytest.approx([1.0, 0.5])
    assert result[NAME].item() == result[f"{NAME}_segm_map_50"].item() == 1.0
    assert result[f"{NAME}_segm_map_75"].item() == pytest.approx(0.5)
    assert result[f"{NAME}_bbox_map_large"].isnan()
    assert all(value.is_floating_point() for value in result.values())


def test_equals_torchmetrics_on_the_components():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = ComponentAveragePrecision(masks=False, threshold=0.5), MeanAveragePrecision(class_metrics=True)
    theirs.warn_on_many_detections = False
    for _ in range(4):
        maps = torch.rand(3, 40, 40, generator=generator).pow(8)
        classes, sure = torch.tensor([0, 1, 4]), torch.rand(3, generator=generator)
        corners = torch.randint(0, 20, (3, 2), generator=generator)
        for saliency, (x, y), miss in zip(maps, corners.tolist(), (0, 2, 5), strict=True):
            saliency[y : y + 12, x + miss : x + 12] = 1.0
        target = {"boxes": torch.cat([corners, corners + 12], 1).float(), "labels": classes}
        ours.update(maps, classes, target, sure)
        found = [map_components(saliency, 0.5) for saliency in maps]
        theirs.update(
            [
                {
                    "boxes": torch.cat([part.boxes for part in found]),
                    "scores": torch.cat([part.scores * s for part, s in zip(found, sure, strict=True)]),
                    "labels": torch.cat([c.expand(len(p.scores)) for p, c in zip(found, classes, strict=True)]),
                }
            ],
            [target],
        )
    first, second = ours.compute(), theirs.compute()
    assert 0 < second["map_50"] < 1
    for key in ("map", "map_50", "map_75", "mar_100", "map_per_class"):
        torch.testing.assert_close(first[f"{NAME}_bbox_{key}"], second[key].float())


def test_inference_mode_no_detection_and_reset():
    maps, classes, target = scene()
    metric = ComponentAveragePrecision()
    with torch.inference_mode():
        metric.update(maps.clone() * 0, classes.clone(), {key: value.clone() for key, value in target.items()})
    assert metric.compute()[NAME].item() == 0.0
    metric.reset()
    assert metric(maps, classes, target)[f"{NAME}_bbox_map_50"].item() == 1.0
    metric.update(maps[:0], classes[:0], target)
    assert metric.compute()[f"{NAME}_bbox_map_50"].item() == pytest.approx(0.5, abs=0.01)


def test_arguments_are_checked():
    maps, classes, target = scene()
    metric = ComponentAveragePrecision(num_classes=2)
    with pytest.raises(ValueError, match="target has no masks"):
        metric.update(maps, classes, {"boxes": target["boxes"], "labels": target["labels"]})
    with pytest.raises(ValueError, match=r"classes\[1\] = 2 is not in"):
        metric.update(maps, torch.tensor([0, 2]), target)
    with pytest.warns(UserWarning, match="no map to average"):
        assert metric.compute()[NAME].isnan()
