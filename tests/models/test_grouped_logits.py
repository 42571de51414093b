import json

import pytest
import torch
from torch import nn

from hedgeseg.data import VOC_CLASSES
from hedgeseg.models import GroupedLogits, read_groups
from hedgeseg.models.grouped_logits import NEVER


def test_probability_of_a_group_is_the_sum_of_its_members():
    fine = torch.randn(4, 6, dtype=torch.float64)
    grouped = GroupedLogits(nn.Identity(), [[0, 2], [5], [1, 3, 4]])(fine)
    members = fine.softmax(1)
    expected = torch.stack([members[:, [0, 2]].sum(1), members[:, 5], members[:, [1, 3, 4]].sum(1)], 1)
    assert torch.allclose(grouped.softmax(1), expected)


def test_a_class_without_members_is_never_predicted():
    fine = torch.randn(3, 4, requires_grad=True)
    grouped = GroupedLogits(nn.Identity(), [[0, 1], [], [2, 3]])(fine)
    assert (grouped[:, 1] == NEVER).all()
    assert torch.isfinite(grouped.half()).all()
    assert (grouped.argmax(1) != 1).all()
    assert not grouped.sigmoid()[:, 1].any()
    grouped[:, 1].sum().backward()
    assert not fine.grad.any()


def test_an_image_does_not_depend_on_its_batch():
    module, fine = GroupedLogits(nn.Identity(), [[0, 1], [2]]), torch.randn(5, 3)
    assert torch.equal(module(fine)[3:4], module(fine[3:4]))


def test_groups_come_in_the_order_of_the_classes(tmp_path):
    path = tmp_path / "groups.json"
    path.write_text(json.dumps({"b": [2, 1], "a": [0]}))
    assert read_groups(path, ("a", "gap", "b")) == [[0], [], [2, 1]]


def test_bad_groups(tmp_path):
    path = tmp_path / "groups.json"
    with pytest.raises(FileNotFoundError, match=r"groups\.json not found"):
        read_groups(path, ("a",))
    path.write_text("[1, 2]")
    with pytest.raises(ValueError, match="not a JSON object"):
        read_groups(path, ("a",))
    path.write_text('{"cat": [1], "dgo": [2]}')
    with pytest.raises(ValueError, match=r"names \['dgo'\]"):
        read_groups(path, ("cat", "dog"))
    with pytest.raises(ValueError, match="class indices >= 0"):
        GroupedLogits(nn.Identity(), [[0], [-1]])


def test_voc_groups(shared):
    groups = read_groups(shared / "data" / "weights" / "voc_from_imagenet.json", VOC_CLASSES)
    assert [VOC_CLASSES[i] for i, group in enumerate(groups) if not group] == ["person"]
