"""MaxBoxAccV2 and PxAP against plain loops."""

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from hedgeseg.metrics import MaxBoxAccV2, PxAP, best_overlaps, pixel_histograms


def smooth_maps(count=4, size=32):
    noise = np.random.default_rng(0).standard_normal((count, size, size)).astype(np.float32)
    return torch.from_numpy(np.stack([cv2.GaussianBlur(row, (0, 0), 3) for row in noise]))


def iou(first, second):
    """Of two boxes, by counting pixels."""
    grid = np.zeros((2, 64, 64), bool)
    for plane, (x0, y0, x1, y1) in zip(grid, (first, second), strict=True):
        plane[int(y0) : int(y1), int(x0) : int(x1)] = True
    return (grid[0] & grid[1]).sum() / (grid[0] | grid[1]).sum()


@pytest.mark.parametrize("grain", [0.0, 0.1])
def test_overlaps_equal_a_loop_over_thresholds_and_contours(grain):
    maps = smooth_maps() + grain * torch.randn(4, 32, 32, generator=torch.Generator().manual_seed(0))
    boxes = [torch.tensor([[3.0, 4, 20, 22]]), torch.tensor([[0.0, 0, 9, 9], [10, 12, 30, 31]])] * 2
    values = best_overlaps(maps, boxes, thresholds=20)
    for image, saliency in enumerate(maps.numpy()):
        scaled = ((saliency - saliency.min()) / (saliency.max() - saliency.min()) * 255).astype(np.uint8)
        for index in range(20):
            binary = cv2.threshold(scaled, int(index / 20 * 255), 255, cv2.THRESH_BINARY)[1]
            contours, _ = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
            proposals = [(x, y, x + w, y + h) for x, y, w, h in map(cv2.boundingRect, contours)]
            expected = max(iou(proposal, true) for proposal in proposals for true in boxes[image].tolist())
            assert values[image, index].item() == pytest.approx(expected, abs=1e-6)


def test_accuracy_is_maximised_over_thresholds_for_each_criterion():
    maps = smooth_maps()
    boxes = [torch.tensor([[4.0, 4, 24, 24]])] * 4
    metric = MaxBoxAccV2()
    metric.update(maps[:1], boxes[:1])
    metric.update(maps[1:], boxes[1:])
    metric.update(maps[:1], [torch.zeros(0, 4)])  # nothing to find: left out
    result, overlaps = metric.compute(), best_overlaps(maps, boxes)
    expected = [(overlaps >= delta).float().mean(0).max() for delta in (0.3, 0.5, 0.7)]
    torch.testing.assert_close(result["max_box_acc_v2_per_delta"], torch.stack(expected))
    torch.testing.assert_close(result["max_box_acc_v2"], torch.stack(expected).mean())
    assert result["max_box_acc_v2_maps"].item() == 4


def test_constant_map_finds_nothing_and_nothing_is_nan():
    assert best_overlaps(torch.ones(1, 8, 8), [torch.tensor([[0.0, 0, 8, 8]])]).max().item() == 0.0
    metric = MaxBoxAccV2()
    metric.update(torch.ones(1, 8, 8), [torch.zeros(0, 4)])
    with pytest.warns(UserWarning, match="no map to average"):
        assert metric.compute()["max_box_acc_v2"].isnan()
    with pytest.raises(ValueError, match="one tensor per map"):
        metric.update(torch.ones(2, 8, 8), [torch.zeros(0, 4)])
    with pytest.raises(ValueError, match=r"boxes\[0\] must be \(n, 4\)"):
        metric.update(torch.ones(1, 8, 8), [torch.ones(1, 5)])


def test_pxap_equals_scikit_learn_on_the_binned_scores():
    maps, generator = smooth_maps().double(), torch.Generator().manual_seed(0)
    masks = torch.rand(maps.shape, generator=generator) < 0.3
    valid = torch.rand(maps.shape, generator=generator) < 0.9
    metric = PxAP(bins=100)
    for i in range(4):
        metric.update(maps[i : i + 1], masks[i : i + 1], valid=valid[i : i + 1])
    low = maps.masked_fill(~valid, torch.inf).amin((1, 2), keepdim=True)
    high = maps.masked_fill(~valid, -torch.inf).amax((1, 2), keepdim=True)
    binned = ((maps - low) / (high - low) * 100).floor()
    expected = average_precision_score(masks[valid].numpy(), binned[valid].numpy())
    assert metric.compute()["px_ap"].item() == pytest.approx(expected, abs=1e-4)


def test_pxap_edge_cases():
    masks = torch.zeros(1, 4, 4, dtype=torch.bool)
    masks[0, 0] = True
    constant = pixel_histograms(torch.full((1, 4, 4), 3.0), masks, bins=10)
    assert constant.tolist() == [[12, *[0] * 10], [4, *[0] * 10]]
    perfect = PxAP()
    perfect.update(masks.float(), masks)
    assert perfect.compute()["px_ap"].item() == 1.0
    assert perfect.histograms[1, -1] == 4
    nothing = PxAP()
    nothing.update(masks.float(), masks & False)
    with pytest.warns(UserWarning, match="no map to average"):
        assert nothing.compute()["px_ap"].isnan()
