"""Options by their former names: taken for a version, with a warning."""

import pytest
import torch
from torch import nn

from hedgeseg import attribute
from hedgeseg.attribution import METHODS

RENAMED = [(name, old, new) for name, method in METHODS.items() for old, new in method.renamed.items()]


@pytest.mark.parametrize(("method", "old", "new"), RENAMED)
def test_a_former_name_means_what_it_is_called_now(method, old, new):
    row, value = METHODS[method], object()
    with pytest.warns(FutureWarning, match=f"{old!r}.*{new!r}"):
        assert row.with_defaults({old: value})[new] is value
    assert old not in row.options
    with pytest.raises(ValueError, match="one option"):
        row.with_defaults({old: value, new: value})


def test_the_warning_points_at_the_callers_line():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    images = torch.randn(1, 3, 6, 6)
    with pytest.warns(FutureWarning) as caught:
        old = attribute(model, images, [0], method="gradient", times_input=True)
    assert caught[0].filename == __file__
    assert old.options["multiply_by_inputs"] is True
    assert torch.equal(old.maps, attribute(model, images, [0], method="gradient", multiply_by_inputs=True).maps)
