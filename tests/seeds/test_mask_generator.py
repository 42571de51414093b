import numpy as np
import pytest
import torch
from torch import nn

from hedgeseg.seeds.mask_generator import MaskGenerator


class Painter(nn.Module):
    """Logits that follow colours: label 1 where the image is positive on the left half, label 2 on the right."""

    def __init__(self, labels=4, gain=5.0):
        super().__init__()
        self.labels, self.gain = labels, gain

    def forward(self, images):
        logits = torch.zeros(len(images), self.labels, *images.shape[-2:])
        bright = images[:, 0] * self.gain
        half = images.shape[-1] // 2
        logits[:, 1, :, :half] = bright[..., :half]
        logits[:, 2, :, half:] = bright[..., half:]
        return logits


@pytest.fixture
def image():
    image = torch.full((3, 16, 24), -1.0)
    image[:, 4:12, 2:8] = 1.0
    image[:, 4:12, 14:22] = 1.0
    return image


def test_argmax_at_the_pictures_size(image):
    found = MaskGenerator(flip=False)(Painter(), image, size=(32, 48))
    assert found.mask.shape == found.confidence.shape == (32, 48)
    assert found.mask[16, 10] == 1
    assert found.mask[16, 36] == 2
    assert found.mask[1, 1] == 0
    expected = Painter()(image[None]).softmax(1)[0].argmax(0)
    assert torch.equal(MaskGenerator(flip=False)(Painter(), image).mask, expected)
    assert found.shares.sum() == pytest.approx(1)


def test_the_mirror_image_is_turned_back(image):
    class Left(nn.Module):
        """Sees the object only in the left half."""

        def forward(self, images):
            logits = Painter()(images)
            logits[:, 2] = 0
            return logits

    once, twice = (MaskGenerator(flip=flip)(Left(), image) for flip in (False, True))
    assert (once.mask[:, 12:] == 0).all()
    assert twice.mask[8, 5] == twice.mask[8, 18] == 1


def test_scales_are_averaged(image):
    found = MaskGenerator(scales=(0.5, 1.0, 1.5), flip=False)(Painter(), image)
    assert found.mask.shape == (16, 24)
    assert found.mask[8, 5] == 1


def test_classes_that_the_image_does_not_have_are_left_out(image):
    found = MaskGenerator()(Painter(), image, classes=[1])
    assert found.mask.unique().tolist() == [0, 2]
    assert MaskGenerator()(Painter(), image, classes=[]).mask.unique().tolist() == [0]
    with pytest.raises(ValueError, match="class 3: the network has the classes 0 to 2"):
        MaskGenerator()(Painter(), image, classes=[3])


def test_what_is_not_sure_becomes_void(image):
    weak = Painter(gain=1.0)
    sure, unsure = MaskGenerator(flip=False)(weak, image), MaskGenerator(flip=False, ignore_below=0.45)(weak, image)
    assert 255 not in sure.mask
    assert torch.equal(unsure.mask == 255, unsure.confidence < 0.45)
    assert (unsure.mask == 255).any()
    assert (unsure.mask == 1).any()
    assert 65535 in MaskGenerator(flip=False, ignore_below=0.45)(weak, image, void=65535).mask


def test_a_band_leaves_the_edge_open(image):
    soft = Painter(gain=2.0)
    found = MaskGenerator(flip=False, band=(0.5, 0.7))(soft, image, size=(64, 96))
    share = 1 - torch.nn.functional.interpolate(soft(image[None]).softmax(1), (64, 96), mode="bilinear")[0, 0]
    assert torch.equal(found.mask == 255, (share <= 0.7) & (share >= 0.5))
    assert (found.mask[share > 0.7] > 0).all()
    assert (found.mask[share < 0.5] == 0).all()


def test_of_many_classes_those_that_can_win_are_enough():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 30, 9, 11, generator=generator) * 3
    logits[:, 20:] -= 20

    class Fixed(nn.Module):
        def forward(self, images):
            return logits

    found = MaskGenerator(flip=False)(Fixed(), torch.zeros(3, 9, 11), size=(40, 50))
    full = torch.nn.functional.interpolate(logits.softmax(1), (40, 50), mode="bilinear")[0]
    assert torch.equal(found.mask, full.argmax(0))
    torch.testing.assert_close(found.confidence, full.amax(0))


def test_a_refiner_sees_the_picture(image):
    seen = []

    def refine(picture, probabilities):
        seen.append((picture.shape, len(probabilities)))
        return probabilities.flip(0)

    picture = np.zeros((32, 48, 3), np.uint8)
    found = MaskGenerator(flip=False, refine=refine)(Painter(3), image, size=(32, 48), picture=picture, classes=[0])
    assert seen == [(torch.Size([32, 48, 3]), 2)]
    assert found.mask[1, 1] == 1
    assert found.mask[16, 10] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": ()}, "positive factors"),
        ({"ignore_below": 2}, "probability"),
        ({"band": (0.7, 0.2)}, "two shares"),
        ({"refine": "magic"}, "unknown refiner"),
        ({"refine_side": 0}, "number of pixels"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        MaskGenerator(**options)


def test_a_classifier_is_refused(image):
    with pytest.raises(ValueError, match=r"this one gave \(2, 5\)"):
        MaskGenerator()(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5)), image)
