import numpy as np
import pytest
import torch

from hedgeseg.seeds import Seed


def test_arrays_become_tensors_of_the_documented_types():
    seed = Seed(np.zeros((1, 2, 3)), np.array([7]), np.full((2, 3), 8))
    assert seed.scores.dtype == torch.float32
    assert seed.classes.dtype == torch.int64
    assert seed.mask.dtype == torch.uint8
    assert seed.size == (2, 3)


@pytest.mark.parametrize(
    ("scores", "classes", "mask", "words"),
    [
        (torch.zeros(1, 2, 2), [1, 2], torch.zeros(2, 2), "to fit classes"),
        (torch.zeros(1, 2, 2), [1], torch.zeros(2), r"\(H, W\)"),
        (torch.full((1, 2, 2), 2.0), [1], torch.zeros(2, 2), r"\[0, 1\]"),
        (torch.full((1, 2, 2), float("nan")), [1], torch.zeros(2, 2), r"\[0, 1\]"),
        (torch.zeros(1, 2, 2), [1], torch.full((2, 2), 1), r"mask holds \[1\]"),
        (torch.zeros(1, 2, 2), [254], torch.zeros(2, 2), "uint8"),
        (torch.zeros(2, 2, 2), [1, 1], torch.zeros(2, 2), "once"),
        (torch.zeros(1, 2, 2), [0.5], torch.zeros(2, 2), "class indices"),
    ],
)
def test_a_seed_that_contradicts_itself_is_refused(scores, classes, mask, words):
    with pytest.raises(ValueError, match=words):
        Seed(scores, classes, mask)


def test_confidence_must_fit():
    with pytest.raises(ValueError, match="confidence"):
        Seed(torch.zeros(1, 2, 2), [0], torch.zeros(2, 2), torch.zeros(3, 2))
