import numpy as np
import pytest
import torch

from hedgeseg.callbacks.batches import Example
from hedgeseg.callbacks.drawing import draw_panels
from hedgeseg.callbacks.explanations import Explanation
from hedgeseg.callbacks.scores import find
from hedgeseg.callbacks.snapshot import Panel, Snapshot
from hedgeseg.class_names import ClassNames


def finding(classes=(0,), size=32, zero=False):
    mask = torch.zeros(size, size, dtype=torch.int64)
    mask[4:12, 4:12] = 1
    maps = torch.randn(len(classes), size, size, generator=torch.Generator().manual_seed(0))
    maps[:, 6, 6] = 10
    example = Example("a/b.jpg", torch.rand(3, size, size), classes, False, mask)
    return find(Explanation(example, classes, maps * (not zero), (0.5,) * len(classes), 3), [None] * len(classes))


def test_scores_of_a_finding():
    result = finding((0, 2))
    assert result.scores[0].hit is True
    assert result.scores[0].outside_inside < 1
    assert result.scores[1].hit is None
    assert result.scores[1].outside_inside is None
    assert torch.isnan(result.values["pointing_game"][1])


def test_a_row_per_class():
    one, two = draw_panels([finding((0,)), finding((0, 2))], ClassNames(("cat", "dog", "cow")), "epoch 0")
    assert one.drawing.dtype == np.uint8
    assert two.drawing.shape[0] > 1.7 * one.drawing.shape[0]
    assert one.drawing.shape[1] == two.drawing.shape[1]
    assert one.name == "000_a_b_jpg"
    assert two.number == 1


@pytest.mark.parametrize("size", [8, 600])
def test_panels_are_of_a_size_that_can_be_looked_at(size):
    [panel] = draw_panels([finding(size=size)], ClassNames(), "test")
    assert 160 < panel.drawing.shape[0] < 500


def test_a_map_that_is_zero_has_no_strongest_pixel():
    [panel] = draw_panels([finding(zero=True)], ClassNames(), "test")
    assert isinstance(panel, Panel)
    [marked] = draw_panels([finding()], ClassNames(), "test")
    assert not np.array_equal(panel.drawing, marked.drawing)


def test_names():
    names = ClassNames(("cat",))
    assert (names[0], names[5]) == ("cat", "class 5")
    assert names.of_mask(2) == {0: "background", 1: "cat", 2: "class 1", 255: "void"}


def test_rows_of_a_look_are_plain_values():
    panels = draw_panels([finding((0, 2))], ClassNames(("cat",)), "epoch 1")
    look = Snapshot("fit", 1, 20, "hedge", {"/dataloader_idx_3": ClassNames(("cat",))}, {"/dataloader_idx_3": panels})
    rows = list(look.rows())
    assert [row["class"] for row in rows] == ["cat", "class 2"]
    assert {row["loader"] for row in rows} == {"3"}
    assert look.folder == "epoch_001_step_000020"
