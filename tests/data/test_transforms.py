import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hedgeseg.data import ImageSubset, Shapes, collate, eval_transform, train_transform
from hedgeseg.data.transforms import size_pair


def augmented(length=8, size=48):
    return ImageSubset(Shapes(length, image_size=64), range(length), train_transform(size), random=True)


class Squares:
    """One axis-aligned square per image: its box says exactly where its mask must be."""

    def __new__(cls, transform, random):
        class Data(Shapes):
            def image(self, index):
                return np.repeat(self.mask(index)[..., None] * 200, 3, axis=2)

            def mask(self, index):
                mask = np.zeros((64, 64), np.uint8)
                mask[20:44, 8 + index : 40 + index] = 1
                return mask

            def labels(self, index):
                return (0,)

            def boxes(self, index):
                return np.array([[8 + index, 20, 40 + index, 44]], np.float32), np.array([0])

        data = Data(10, image_size=64, transform=transform)
        data.random = random
        return data


def tight_box(mask):
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    return torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()


@pytest.mark.parametrize(("transform", "random"), [(eval_transform((96, 128)), False), (train_transform(64), True)])
def test_mask_and_boxes_follow_the_pixels(transform, random):
    torch.manual_seed(0)
    data = Squares(transform, random)
    for index in range(10):
        sample = data[index]
        assert (tight_box(sample["mask"] == 1) - sample["boxes"][0]).abs().max() <= 2
        # the object is the bright part: pixels and mask agree but for the interpolated rim
        bright = sample["image"][0] > sample["image"][0].mean()
        assert ((sample["mask"] == 1) == bright).float().mean() > 0.94


def test_every_pixel_and_box_is_where_crop_and_flip_put_it():
    """The augmentation against arithmetic of its own, from the crop and the flip that were drawn."""
    pipeline = train_transform(48)
    replay = A.ReplayCompose(pipeline.transforms, bbox_params=A.BboxParams("pascal_voc", label_fields=["box_labels"]))
    replay.set_random_seed(0)
    data = Shapes(12, image_size=64)
    flips = 0
    for index in range(len(data)):
        boxes, labels = data.boxes(index)
        out = replay(image=data.image(index), mask=data.mask(index), bboxes=boxes, box_labels=labels)
        steps = {step["__class_fullname__"].split(".")[-1]: step for step in out["replay"]["transforms"]}
        left, top, right, bottom = steps["RandomResizedCrop"]["params"]["crop_coords"]
        flipped = steps["HorizontalFlip"]["applied"]
        flips += flipped
        expected = cv2.resize(data.mask(index)[top:bottom, left:right], (48, 48), interpolation=cv2.INTER_NEAREST)
        assert np.array_equal(out["mask"].numpy(), expected[:, ::-1] if flipped else expected)
        scale = 48 / np.array([right - left, bottom - top] * 2)
        moved = ((boxes - [left, top, left, top]) * scale).clip(0, 48)
        if flipped:
            moved[:, [0, 2]] = 48 - moved[:, [2, 0]]
        kept = (moved[:, 2] > moved[:, 0]) & (moved[:, 3] > moved[:, 1])
        assert np.allclose(out["bboxes"], moved[kept], atol=1e-3)
        assert np.asarray(out["box_labels"]).tolist() == labels[kept].tolist()
    assert 0 < flips < 12


def test_flip_moves_the_boxes_exactly():
    data = Squares(None, False)
    flip = A.Compose([A.HorizontalFlip(p=1)], bbox_params=A.BboxParams("pascal_voc", label_fields=["box_labels"]))
    boxes, labels = data.boxes(3)
    out = flip(image=data.image(3), mask=data.mask(3), bboxes=boxes, box_labels=labels)
    assert np.allclose(out["bboxes"], [[64 - 43, 20, 64 - 11, 44]])
    assert np.array_equal(out["mask"], data.mask(3)[:, ::-1])


def test_eval_is_deterministic_and_keeps_mask_ids():
    data = ImageSubset(Shapes(4), range(4), eval_transform((50, 70)))
    first, second = data[2], data[2]
    assert torch.equal(first["image"], second["image"])
    assert first["image"].shape == (3, 50, 70)
    assert set(first["mask"].unique().tolist()) <= set(np.unique(data.mask(2)).tolist())


def test_one_seed_repeats_a_run_and_epochs_differ():
    def run():
        torch.manual_seed(7)
        data = augmented()
        return [torch.stack([data[i]["image"] for i in range(8)]) for _ in range(2)]

    first, second = run(), run()
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], first[1])


def test_two_workers_repeat_no_augmentation():
    # the same scene eight times: every difference between the samples is an augmentation
    data = ImageSubset(Shapes(1, image_size=32), [0] * 8, train_transform(24), random=True)

    def epochs():
        torch.manual_seed(5)
        loader = DataLoader(data, batch_size=2, num_workers=2, collate_fn=collate)
        return [torch.cat([batch["image"] for batch in loader]) for _ in range(2)]

    first, again = epochs(), epochs()
    assert len({image.numpy().tobytes() for epoch in first for image in epoch}) == 16
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_eval_draws_nothing_from_torch():
    data = ImageSubset(Shapes(2), range(2), eval_transform(32))
    state = torch.get_rng_state()
    data[0]
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("size", [0, (10,), (10, -1)])
def test_bad_sizes(size):
    with pytest.raises(ValueError, match="image_size"):
        size_pair(size)


def test_bad_scale():
    with pytest.raises(ValueError, match="min_scale"):
        train_transform(32, min_scale=0)
