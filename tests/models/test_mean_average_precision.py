import math
import warnings

import numpy as np
import torch
from sklearn.metrics import average_precision_score

from hedgeseg.models.mean_average_precision import MeanAveragePrecision


def random_batch(seed=0, images=40, classes=5):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(images, classes, generator=generator),
        (torch.rand(images, classes, generator=generator) > 0.7).long(),
    )


def test_equals_scikit_learn_over_the_classes_that_occur():
    logits, labels = random_batch()
    labels[:, 2] = 0
    metric = MeanAveragePrecision(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for start in (0, 15, 30):
            metric.update(logits[start : start + 15], labels[start : start + 15])
        value = float(metric.compute())
    expected = np.mean([average_precision_score(labels[:, c], logits[:, c].sigmoid()) for c in (0, 1, 3, 4)])
    assert math.isclose(value, expected, abs_tol=1e-6)


def test_without_a_positive_image_it_is_not_defined():
    logits, labels = random_batch()
    metric = MeanAveragePrecision(5)
    metric.update(logits, torch.zeros_like(labels))
    assert math.isnan(float(metric.compute()))
    metric.reset()
    metric.update(logits, labels)
    assert 0 < float(metric.compute()) < 1
