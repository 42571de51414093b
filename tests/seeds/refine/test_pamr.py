import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hedgeseg.seeds import pamr


def picture(height=30, width=34, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def dense_pamr(image, values, iterations, dilations):
    """The definition spelt out in float64: every pixel's neighbours gathered by index."""
    pixels = torch.from_numpy(image).permute(2, 0, 1).double() / 255
    height, width = image.shape[:2]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    index, everything = [], []
    for d in dilations:
        for dy in (-d, 0, d):
            for dx in (-d, 0, d):
                at = (rows + dy).clamp(0, height - 1) * width + (columns + dx).clamp(0, width - 1)
                everything.append(at)
                if (dy, dx) != (0, 0):
                    index.append(at)
    flat = pixels.flatten(1)
    deviation = torch.stack([flat[:, at] for at in everything]).std(0, unbiased=True)
    contrast = torch.stack([-((pixels - flat[:, at]).abs() / (1e-8 + 0.1 * deviation)).mean(0) for at in index])
    weights = F.softmax(contrast, 0)
    result = values.double()
    for _ in range(iterations):
        result = sum(w * result.flatten(1)[:, at] for w, at in zip(weights, index, strict=True))
    return result


def test_it_equals_the_definition():
    values = torch.rand(3, 30, 34)
    ours = pamr(picture(), values, iterations=3, dilations=(1, 4))
    assert torch.allclose(ours.double(), dense_pamr(picture(), values, 3, (1, 4)), atol=2e-5)


def test_sums_and_ranges_are_kept():
    values = torch.softmax(torch.randn(3, 30, 34), 0)
    refined = pamr(picture(), values)
    assert torch.allclose(refined.sum(0), torch.ones(30, 34), atol=1e-4)
    assert float(refined.min()) >= 0
    constant = torch.full((1, 30, 34), 0.4)
    assert torch.allclose(pamr(picture(), constant), constant, atol=1e-5)


def test_labels_do_not_influence_each_other():
    values = torch.rand(2, 30, 34)
    assert torch.allclose(pamr(picture(), values)[:1], pamr(picture(), values[:1]), atol=1e-6)


def test_a_flat_picture_is_averaged_evenly():
    flat = np.full((9, 9, 3), 100, np.uint8)
    spike = torch.zeros(1, 9, 9)
    spike[0, 4, 4] = 8
    refined = pamr(flat, spike, iterations=1, dilations=(1,))
    assert torch.allclose(refined[0, 3:6, 3:6], torch.tensor([[1.0, 1, 1], [1, 0, 1], [1, 1, 1]]), atol=1e-5)


def test_dilations_are_checked():
    with pytest.raises(ValueError, match="dilations"):
        pamr(picture(), torch.rand(1, 30, 34), dilations=())
    with pytest.raises(ValueError, match="dilations"):
        pamr(picture(), torch.rand(1, 30, 34), dilations=(0.5,))
