import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hedgeseg.data import ImageSubset, Shapes, collate, eval_transform, train_transform
from hedgeseg.data.fit import fitted_size, resized, size_pair, usual_fit
from hedgeseg.data.transforms import Normalised


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


CRACK = np.full((3000, 4000), 255, np.uint8)
CRACK[:, 2001:2004] = 0


@pytest.mark.parametrize("fit", ["letterbox", "long", "short", "squash"])
@pytest.mark.parametrize("side", [224, 449])
def test_a_crack_of_three_pixels_survives_in_every_row(fit, side):
    out = eval_transform(side, (0, 0, 0), (1, 1, 1), fit=fit)(image=np.repeat(CRACK[..., None], 3, axis=2), **NO_BOXES)
    height, width = fitted_size((3000, 4000), (side, side), fit)
    rows = out["image"][0, :height, :width].numpy()
    assert (rows.min(axis=1) < 0.95).all()


def test_a_crack_survives_augmentation():
    torch.manual_seed(0)
    photograph = np.repeat(CRACK[:1500, 1200:2800, None], 3, axis=2)
    plain = A.Compose(train_transform(224).transforms[:1])
    assert (plain(image=photograph)["image"][..., 0].min(axis=1) < 240).all()


@pytest.mark.parametrize(
    ("fit", "size", "expected"),
    [
        ("letterbox", (300, 400), (168, 224)),
        ("letterbox", (400, 300), (224, 168)),
        ("letterbox", (10, 10), (224, 224)),
        ("letterbox", (1, 5000), (1, 224)),
        ("long", (300, 400), (168, 224)),
        ("short", (300, 400), (224, 298)),
        ("short", (3000, 4000), (224, 298)),
        ("squash", (300, 400), (224, 224)),
    ],
)
def test_sizes(fit, size, expected):
    assert fitted_size(size, (224, 224), fit) == expected


def test_sides_stay_odd_for_networks_that_want_them_odd():
    for size in ((300, 400), (427, 640), (333, 500)):
        assert all(side % 2 for fit in ("letterbox", "short") for side in fitted_size(size, (225, 225), fit))


NO_BOXES = {"bboxes": np.zeros((0, 4)), "box_labels": np.zeros(0)}


@pytest.mark.parametrize("image_size", [64, (40, 96), (96, 40)])
@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (200, 90), (64, 64)])
def test_letterboxed_pictures_masks_and_boxes_fit_each_other(image_size, shape):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (*shape, 3)).astype(np.uint8)
    mask = np.ones(shape, np.uint8)
    boxes = np.array([[5, 4, 20, 25]], np.float32)
    pipeline = eval_transform(image_size, fit="letterbox")
    out = pipeline(image=image, mask=mask, bboxes=boxes, box_labels=np.array([3]))
    wanted = size_pair(image_size)
    height, width = fitted_size(shape, wanted, "letterbox")
    assert tuple(out["image"].shape[1:]) == tuple(out["mask"].shape) == wanted
    assert height == wanted[0] or width == wanted[1]
    assert abs(height / width - shape[0] / shape[1]) / (shape[0] / shape[1]) < 0.06  # the sides are whole and even
    assert out["mask"][:height, :width].all()
    assert out["mask"].sum() == height * width
    padding = torch.ones(wanted, dtype=torch.bool)
    padding[:height, :width] = False
    assert out["image"][:, padding].abs().max() < 0.02 if padding.any() else True
    expected = np.array([[5, 4, 20, 25]]) * np.array([width / shape[1], height / shape[0]] * 2)
    assert np.allclose(out["bboxes"], expected, atol=1e-3)


def test_samples_say_what_is_padding_and_it_is_void():
    data = ImageSubset(Oblong(4), range(4), eval_transform(64))
    batch = collate([data[index] for index in range(4)])
    assert batch["image"].shape == (4, 3, 64, 64)
    assert batch["content_size"].tolist() == [[48, 64]] * 4
    assert (batch["mask"][:, 48:] == 255).all()
    assert not (batch["mask"][:, :48] == 255).any()
    whole = collate([ImageSubset(Oblong(4), range(4), train_transform(64), random=True)[0]])
    assert whole["content_size"].tolist() == [[64, 64]]
    assert ImageSubset(Oblong(1), [0])[0]["content_size"].tolist() == [60, 80]


class Oblong(Shapes):
    def image(self, index):
        return super().image(index)[:60, :80]

    def mask(self, index):
        return super().mask(index)[:60, :80]

    def boxes(self, index):
        return np.zeros((0, 4), np.float32), np.zeros(0, np.int64)


def test_wide_masks_have_their_own_void_in_the_padding():
    data = Oblong(2, transform=eval_transform(64))
    data.classes = tuple(f"c{i}" for i in range(300))
    mask = data[0]["mask"]
    assert (mask[48:] == 65535).all()


def test_crops_learn_at_the_resolution_of_the_picture():
    stripes = np.repeat(np.arange(400)[None] % 2 * np.ones((300, 1)), 3, axis=0).reshape(300, -1)[:, :400]
    image = np.repeat((stripes * 255).astype(np.uint8)[..., None], 3, axis=2)
    pipeline = train_transform(300, (0, 0, 0), (1, 1, 1), crop=96)
    out = A.Compose(pipeline.transforms[:2])(image=image)["image"]
    assert out.shape == (96, 96, 3)
    assert np.abs(np.diff(out[..., 0].astype(int), axis=1)).min() == 255  # the stripes are as they were
    sample = ImageSubset(Oblong(1), [0], train_transform(60, crop=32), random=True)[0]
    assert sample["image"].shape == (3, 32, 32)
    assert sample["mask"].shape == (32, 32)
    assert sample["content_size"].tolist() == [32, 32]
    with pytest.raises(ValueError, match="crop is a number of pixels from 1 to image_size, 60"):
        train_transform(60, crop=61)


def test_each_side_is_resized_for_itself():
    image = np.repeat(np.arange(0, 200, 2, dtype=np.uint8)[None, :, None], 10, axis=0)
    assert resized(image, (20, 50)).shape[:2] == (20, 50)
    assert np.allclose(resized(image, (20, 50)).reshape(20, 50)[0], image[0, :, 0].reshape(50, 2).mean(axis=1), atol=1)


def test_a_fit_that_is_none():
    assert usual_fit(224, None) == "letterbox"
    assert usual_fit([224, 320], None) == "squash"
    with pytest.raises(ValueError, match="fit is one of letterbox, long, short, squash, got 'stretch'"):
        usual_fit(224, "stretch")


@pytest.mark.parametrize("size", [0, (10,), (10, -1)])
def test_bad_sizes(size):
    with pytest.raises(ValueError, match="image_size"):
        size_pair(size)


def test_bad_scale():
    with pytest.raises(ValueError, match="min_scale"):
        train_transform(32, min_scale=0)


def test_scenes_of_the_networks_size_need_a_table_and_nothing_else():
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (64, 64, 3), np.uint8), rng.integers(0, 4, (64, 64), np.uint8)
    boxes, labels = np.array([[3, 4, 50, 60]], np.float32), np.array([2])
    whole = eval_transform(64)(image=image, mask=mask, bboxes=boxes, box_labels=labels)
    plain = Normalised()(image=image, mask=mask, bboxes=boxes, box_labels=labels)
    assert torch.equal(whole["image"], plain["image"])
    assert plain["image"].stride() == whole["image"].stride()
    assert np.array_equal(whole["mask"], plain["mask"])
    assert np.array_equal(np.asarray(whole["bboxes"]), plain["bboxes"])
