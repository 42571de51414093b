import numpy as np
import pytest
import torch

from hedgeseg.callbacks.batches import Batch, read_batch
from hedgeseg.callbacks.mask_layouts import MaskError, looks_like_masks, read_mask

IDS = torch.zeros(2, 8, 10, dtype=torch.int64)
IDS[0, :4, :5], IDS[0, 6:, 2:4], IDS[1, 2:5] = 1, 3, 2
IMAGES = torch.rand(2, 3, 8, 10)


def one_hot(ids, classes):
    return torch.nn.functional.one_hot(ids, classes).movedim(-1, 1)


LAYOUTS = {
    "BHW": IDS,
    "BHW uint8": IDS.byte(),
    "BHW float": IDS.float(),
    "B1HW": IDS[:, None],
    "BHW1": IDS[..., None],
    "one channel per class behind the background": one_hot(IDS, 4),
    "the same, channels last": one_hot(IDS, 4).movedim(1, -1),
    "one channel per class": one_hot(IDS, 4)[:, 1:],
    "the same, bool": one_hot(IDS, 4)[:, 1:].bool(),
    "list": list(IDS),
    "list of arrays": [mask.numpy() for mask in IDS],
    "array": IDS.numpy(),
    "list of (1, h, w)": [mask[None] for mask in IDS],
    "the picture's own size": IDS.repeat_interleave(3, 1).repeat_interleave(3, 2),
    "list of sizes": [IDS[0], IDS[1].repeat_interleave(2, 0).repeat_interleave(4, 1)],
    "list of sizes and channels": [
        one_hot(IDS[:1], 4)[0],
        one_hot(IDS[1:], 4)[0].repeat_interleave(2, 1).repeat_interleave(2, 2),
    ],
}


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, labelled):
    batch = {"image": IMAGES, "mask": LAYOUTS[layout]}
    if labelled:
        batch["label"] = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    first, second = read_batch(batch, "0")
    assert torch.equal(first.mask, IDS[0])
    assert torch.equal(second.mask, IDS[1])
    assert [first.labels, second.labels] == [(0, 2), (1,)]


@pytest.mark.parametrize("layout", ["BHW", "B1HW", "one channel per class", "list"])
def test_by_position(layout):
    for batch in ((IMAGES, LAYOUTS[layout]), (IMAGES, torch.tensor([2, 1]), LAYOUTS[layout])):
        assert torch.equal(read_batch(batch, "0")[0].mask, IDS[0])


def test_an_image_of_nothing_but_one_class():
    everywhere = torch.zeros(1, 3, 8, 10)
    everywhere[:, 1] = 1
    batch = {"image": IMAGES[:1], "mask": everywhere, "label": torch.tensor([[0.0, 1, 0]])}
    assert read_batch(batch, "0")[0].mask.unique().tolist() == [2]  # the labels tell that there is no background
    assert read_mask(everywhere, 0, 1, (8, 10)).unique().tolist() == [1]


def test_void_stays_in_a_mask_of_another_size():
    mask = torch.full((1, 16, 20), 255, dtype=torch.uint8)
    mask[:, :8] = 1
    assert read_mask(mask, 0, 1, (8, 10)).unique().tolist() == [1, 255]


def test_what_looks_like_masks():
    assert looks_like_masks(IDS)
    assert not looks_like_masks(torch.zeros(2, 3))
    assert not looks_like_masks([[0, 1], [2]])
    assert not looks_like_masks([])
    assert not looks_like_masks(["a"])


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (torch.zeros(3, 8, 10), r"float32 \(3, 8, 10\), expected one mask for each of its 2 images"),
        (torch.rand(2, 8, 10), "with values such as 0"),
        (torch.randint(5, 200, (2, 3, 8, 10)), "a mask of 3 channels holds"),
        (torch.zeros(2, 1, 1, 8, 10), "expected \\(h, w\\)"),
        (np.zeros((2, 0, 10)), "expected \\(h, w\\)"),
        (7, "int"),
    ],
)
def test_what_cannot_be_read_is_described(masks, message):
    with pytest.raises(MaskError, match=message):
        read_mask(masks, 0, 2, (8, 10))


@pytest.mark.parametrize(
    ("masks", "labels", "message"),
    [
        (IDS.gt(0).byte() * 255, [2, 1], "no mask of a labelled batch shows a class"),
        (torch.full_like(IDS, 255), [2, 1], "no mask of a labelled batch shows a class"),
        (IDS > 0, [2, 1], "hold only 0 and 1, but"),
        (IDS, [2, 1], None),
        (IDS > 0, [0, 0], None),
    ],
)
def test_masks_that_contradict_the_labels_are_told_of(masks, labels, message):
    oddity = Batch({"image": IMAGES, "mask": masks, "label": torch.tensor(labels)}, "0").oddity
    assert oddity is None if message is None else message in oddity and "class index + 1" in oddity
