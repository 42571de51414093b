import numpy as np
import pytest
import torch

from hedgeseg.seeds import guided_filter


def two_tone(height=24, width=30):
    image = np.full((height, width, 3), 40, np.uint8)
    image[:, width // 2 :] = (200, 180, 160)
    return image


def test_it_equals_least_squares_window_by_window():
    """He et al. 2013 by hand: fit each window by ridge regression, average the fits that cover a pixel."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (7, 8, 3), dtype=np.uint8)
    target = torch.rand(2, 7, 8, dtype=torch.float64)
    target = target / target.sum(0)
    epsilon, radius = 1e-2, 1
    guide = image / 255.0
    total, count = np.zeros((2, 7, 8)), np.zeros((7, 8))
    slopes = np.zeros((7, 8, 3, 2))
    offsets = np.zeros((7, 8, 2))
    windows = {}
    for y in range(7):
        for x in range(8):
            window = (slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1))
            windows[y, x] = window
            colours = guide[window].reshape(-1, 3)
            wanted = target.numpy()[(slice(None), *window)].reshape(2, -1).T
            centred = colours - colours.mean(0)
            covariance = centred.T @ centred / len(colours) + epsilon * np.eye(3)
            slopes[y, x] = np.linalg.solve(covariance, centred.T @ (wanted - wanted.mean(0)) / len(colours))
            offsets[y, x] = wanted.mean(0) - colours.mean(0) @ slopes[y, x]
    for (y, x), window in windows.items():
        total[:, y, x] = guide[y, x] @ slopes[window].mean((0, 1)) + offsets[window].mean((0, 1))
        count[y, x] += 1
    total = np.clip(total, 0, None)
    total = total / total.sum(0)
    ours = guided_filter(image, target.float(), radius=radius, epsilon=epsilon)
    assert np.allclose(ours.numpy(), total, atol=1e-5)


def test_edges_of_the_picture_become_edges_of_the_scores():
    blurred = torch.linspace(0, 1, 30).expand(24, 30)
    refined = guided_filter(two_tone(), torch.stack([1 - blurred, blurred]), radius=6)
    jump = (refined[1, 12, 15] - refined[1, 12, 14]).item()
    assert jump > 5 / 30


def test_probabilities_stay_probabilities():
    values = torch.softmax(3 * torch.randn(3, 24, 30), 0)
    refined = guided_filter(two_tone(), values)
    assert float(refined.min()) >= 0
    assert torch.allclose(refined.sum(0), torch.ones(24, 30), atol=1e-5)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="radius"):
        guided_filter(two_tone(), torch.rand(1, 24, 30), radius=0)
    with pytest.raises(ValueError, match="epsilon"):
        guided_filter(two_tone(), torch.rand(1, 24, 30), epsilon=0.0)
