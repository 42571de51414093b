from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch

from hedgeseg.callbacks.batches import Batch, Example, read_batch

IMAGES = torch.rand(2, 3, 8, 8)
MASKS = torch.zeros(2, 8, 8, dtype=torch.int64)
MASKS[0, :4] = 3
MASKS[1, 0] = 255


@dataclass
class DataBatch:
    pixel_values: torch.Tensor
    labels: torch.Tensor


Named = namedtuple("Named", ["img", "target", "segmentation"])


@pytest.mark.parametrize(
    ("batch", "labels", "exclusive"),
    [
        ((IMAGES, torch.tensor([2, 0])), [(2,), (0,)], True),
        ([IMAGES, torch.tensor([[2], [0]])], [(2,), (0,)], True),
        ((IMAGES, torch.tensor([[1.0, 0, 1], [0, 0, 0]])), [(0, 2), ()], False),
        ((IMAGES, torch.tensor([[True, False], [False, True]])), [(0,), (1,)], False),
        ((IMAGES, torch.tensor([1.0, 0.0])), [(0,), ()], False),
        ((IMAGES, [[1, 4], [0]]), [(1, 4), (0,)], False),
        ((IMAGES, [2, 0]), [(2,), (0,)], True),
        ((IMAGES, [torch.tensor(2), torch.tensor(0)]), [(2,), (0,)], True),
        ((IMAGES, [1.0, 0.0]), [(0,), ()], False),
        ((IMAGES, MASKS), [(2,), ()], False),
        ((IMAGES, MASKS[:, None]), [(2,), ()], False),
        ({"image": IMAGES, "label": torch.tensor([2, 0])}, [(2,), (0,)], True),
        (DataBatch(IMAGES, torch.tensor([2, 0])), [(2,), (0,)], True),
        (Named(IMAGES, torch.tensor([2, 0]), MASKS), [(2,), (0,)], True),
        (IMAGES, [None, None], True),
    ],
)
def test_layouts(batch, labels, exclusive):
    examples = read_batch(batch, "0")
    assert [e.labels for e in examples] == labels
    assert all(e.exclusive == exclusive for e in examples)
    assert all(torch.equal(e.image, image) for e, image in zip(examples, IMAGES, strict=True))


def test_everything_a_dict_can_hold():
    batch = {
        "image": IMAGES,
        "label": torch.tensor([[0.0, 0, 1], [1, 0, 0]]),
        "mask": MASKS,
        "boxes": [torch.tensor([[0.0, 0, 8, 4]]), torch.zeros(0, 4)],
        "box_labels": [torch.tensor([2]), torch.zeros(0, dtype=torch.int64)],
        "id": ["a", "b"],
        "size": torch.tensor([[100, 200], [30, 40]]),
        "index": torch.tensor([7, 9]),
    }
    first, second = read_batch(batch, "0")
    assert (first.key, first.size, first.index, first.named) == ("a", (100, 200), 7, True)
    assert first.region(2).sum() == 32
    assert first.region(0) is None
    assert second.valid.sum() == 56


def test_boxes_stand_in_for_a_mask():
    boxes, labels = torch.tensor([[1.0, 2, 4, 6], [0, 0, 2, 2]]), torch.tensor([1, 0])
    example = Example("a", IMAGES[0], (1,), False, None, boxes, labels)
    region = example.region(1)
    assert region.sum() == 12
    assert region[2:6, 1:4].all()


def test_images_without_ids_are_known_by_their_place():
    assert [e.key for e in read_batch((IMAGES, torch.tensor([0, 1])), "5")] == ["5:0", "5:1"]


def test_adapter():
    examples = read_batch({"views": {"left": IMAGES}}, "0", lambda b: {"image": b["views"]["left"], "label": [1, 2]})
    assert [e.labels for e in examples] == [(1,), (2,)]


def test_tensors_of_inference_mode_become_ordinary():
    with torch.inference_mode():
        batch = (IMAGES + 0, torch.tensor([0, 1]))
        example = read_batch(batch, "0")[0]
    assert not example.image.is_inference()
    example.image.requires_grad_().sum().backward()


def test_examples_do_not_share_memory_with_the_batch():
    images = IMAGES.clone()
    example = read_batch((images, torch.tensor([0, 1])), "0")[0]
    images.zero_()
    assert example.image.abs().sum() > 0


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"picture": IMAGES}, r"the batch has \['picture'\].*batch_adapter"),
        (42, "type int; give batch_adapter"),
        ((torch.zeros(2, 3, 8),), r"float32 \(2, 3, 8\), expected float \(B, C, H, W\)"),
        ((torch.zeros(2, 3, 8, 8, dtype=torch.uint8),), "uint8"),
        ((IMAGES, torch.zeros(3, 8, 8, dtype=torch.int64)), r"int64 \(3, 8, 8\), expected one mask for each of its 2"),
        ((IMAGES, torch.zeros(3)), r"label is torch.float32 \(3,\)"),
        ({"image": IMAGES, "id": ["a"]}, "2 images and 1 ids"),
        ({"image": IMAGES, "label": [[1]]}, "2 images and 1 labels"),
    ],
)
def test_a_batch_that_cannot_be_read_is_described(batch, message):
    with pytest.raises(ValueError, match=message):
        read_batch(batch, "0")


def test_void_may_have_another_id_where_there_are_more_classes_than_bytes():
    masks = torch.zeros(2, 8, 8, dtype=torch.int64)
    masks[0, :2], masks[0, 2:4], masks[0, 4:6] = 255, 900, 65535
    batch = {"image": IMAGES, "mask": masks, "void": torch.tensor([65535, 65535])}
    first, second = read_batch(batch, "0")
    assert first.labels == (254, 899)
    assert int(first.region(254).sum()) == 16
    assert torch.equal(first.valid, masks[0] != 65535)
    assert second.valid.all()
    assert read_batch({**batch, "void": 65535}, "0")[0].labels == (254, 899)
    assert not read_batch({"image": IMAGES, "mask": MASKS}, "0")[1].valid.all()


def test_a_mask_of_nothing_but_void_is_none():
    masks = torch.zeros(2, 8, 8, dtype=torch.int64)
    masks[1] = 255
    first, second = read_batch({"image": IMAGES, "label": torch.tensor([[1, 0], [0, 1]]), "mask": masks}, "0")
    assert first.mask is not None
    assert second.mask is None
    assert second.region(1) is None


def test_labels_are_read_without_the_images():
    opened = Batch({"image": IMAGES, "label": torch.tensor([2, 0]), "id": ["a", "b"], "mask": MASKS}, "0")
    assert (opened.keys, opened.labels, opened.exclusive, len(opened)) == (["a", "b"], [(2,), (0,)], True, 2)
    assert opened.located
    assert opened.example(1).mask is not None
    assert opened.example(1, masked=False).mask is None
    assert not Batch((IMAGES, torch.tensor([2, 0])), "0").located
