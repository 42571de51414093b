import numpy as np
import pytest
import torch
from torch import nn

from hedgeseg.seeds import Seed, SeedGenerator
from hedgeseg.seeds.background import Band


def blobs(model, images, targets):
    """Class c lights up a square whose place follows c, in the image's own coordinates (mirrored with the image)."""
    height, width = images.shape[-2:]
    maps = torch.zeros(len(images), len(targets[0]), height, width)
    for t, c in enumerate(targets[0]):
        top, left = (c * height) // 8, (c * width) // 8
        maps[:, t, top : top + height // 4, left : left + width // 4] = 1.0 + c
    mirrored = images[:, 0, 0, 0] > images[:, 0, 0, -1]
    maps[mirrored] = maps[mirrored].flip(-1)
    return maps


def ramp_image(height=32, width=48):
    return torch.linspace(-1, 1, width).expand(3, height, width).clone()


@pytest.fixture
def model():
    return nn.Identity()


def test_a_seed_has_one_score_map_per_class_and_a_mask_of_class_plus_one(model):
    seed = SeedGenerator(method=blobs, smoothing=0)(model, ramp_image(), [1, 4])
    assert isinstance(seed, Seed)
    assert seed.scores.shape == (2, 32, 48)
    assert seed.scores.dtype == torch.float32
    assert seed.scores.amax((1, 2)).tolist() == [1.0, 1.0]
    assert seed.classes.tolist() == [1, 4]
    assert seed.mask.dtype == torch.uint8
    assert sorted(seed.mask.unique().tolist()) == [0, 2, 5]
    assert seed.mask[5, 7] == 2
    assert seed.mask[18, 26] == 5


def test_no_classes_means_all_background(model):
    seed = SeedGenerator(method=blobs)(model, ramp_image(), [], size=(10, 12))
    assert seed.scores.shape == (0, 10, 12)
    assert seed.mask.shape == (10, 12)
    assert int(seed.mask.sum()) == 0


def test_size_sets_the_resolution_of_the_seed(model):
    seed = SeedGenerator(method=blobs)(model, ramp_image(), torch.tensor([2]), size=(64, 96))
    assert seed.size == (64, 96)
    assert seed.scores.shape == (1, 64, 96)


def test_a_batch_dimension_of_one_is_accepted_and_more_is_refused(model):
    generator = SeedGenerator(method=blobs)
    one = generator(model, ramp_image()[None], [1])
    assert torch.equal(one.scores, generator(model, ramp_image(), [1]).scores)
    with pytest.raises(ValueError, match="one image"):
        generator(model, torch.zeros(2, 3, 8, 8), [1])


def test_scales_and_flips_of_a_consistent_map_agree_with_one_look(model):
    plain = SeedGenerator(method=blobs, background=0.5)(model, ramp_image(), [1, 5])
    many = SeedGenerator(method=blobs, background=0.5, scales=(0.5, 1.0, 2.0), flip=True)(model, ramp_image(), [1, 5])
    assert (plain.mask == many.mask).float().mean() > 0.97


def test_negative_evidence_is_not_foreground(model):
    seed = SeedGenerator(method=lambda *a: -blobs(*a))(model, ramp_image(), [3])
    assert int(seed.mask.sum()) == 0
    assert float(seed.scores.max()) == 0.0


def test_a_band_leaves_unsure_pixels_to_ignore(model):
    seed = SeedGenerator(method=blobs, background=Band(0.1, 0.9), smoothing=0.05)(model, ramp_image(), [2])
    assert set(seed.mask.unique().tolist()) == {0, 3, 255}


def test_methods_are_fused(model):
    def left(model, images, targets):
        maps = torch.zeros(len(images), len(targets[0]), *images.shape[-2:])
        maps[..., :16] = 1
        return maps

    def top(model, images, targets):
        maps = torch.zeros(len(images), len(targets[0]), *images.shape[-2:])
        maps[..., :8, :] = 1
        return maps

    both = SeedGenerator(method=[left, top], fuse="product", smoothing=0)(model, ramp_image(), [0])
    either = SeedGenerator(method=[left, top], fuse="max", smoothing=0)(model, ramp_image(), [0])
    assert int((both.mask == 1).sum()) == 8 * 16
    assert int((either.mask == 1).sum()) == 32 * 16 + 8 * 32


def test_a_refiner_sees_the_picture_and_its_answer_becomes_the_mask(model):
    seen = {}

    def everything(picture, probabilities):
        seen["picture"] = picture
        answer = torch.zeros_like(probabilities)
        answer[1] = 1
        return answer

    generator = SeedGenerator(method=blobs, refine=everything, mean=(0.5,), std=(0.5,))
    seed = generator(model, ramp_image(), [6])
    assert seen["picture"].dtype == torch.uint8
    assert seen["picture"].shape == (32, 48, 3)
    assert int(seen["picture"][0, 0, 0]) == 0
    assert int(seen["picture"][0, -1, 0]) == 255
    assert seed.mask.unique().tolist() == [7]
    plain = SeedGenerator(method=blobs)(model, ramp_image(), [6])
    assert torch.equal(seed.scores, plain.scores)  # they stay what they were, to be cut again


def test_confidence_is_a_margin(model):
    seed = SeedGenerator(method=blobs, smoothing=0)(model, ramp_image(), [1])
    assert seed.confidence.shape == (32, 48)
    assert 0 <= float(seed.confidence.min()) <= float(seed.confidence.max()) <= 1


def test_scores_take_classes_that_no_uint8_mask_can_hold(model):
    generator = SeedGenerator(method=lambda m, i, t: torch.ones(len(i), len(t[0]), *i.shape[-2:]))
    assert generator.scores(model, ramp_image(), [999]).shape == (1, 32, 48)
    with pytest.raises(ValueError, match="does not fit a uint8 mask"):
        generator(model, ramp_image(), [999])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"scales": ()}, "scales"),
        ({"scales": (0.0,)}, "scales"),
        ({"background": 1.5}, "background level"),
        ({"background": "ottsu"}, "otsu"),
        ({"refine": "crff"}, "crf"),
        ({"merge": "median"}, "sum, max or mean"),
        ({"fuse": "sum"}, "product, max, mean, extent"),
        ({"smoothing": 3.0}, "fraction"),
    ],
)
def test_bad_settings_say_what_is_wrong(arguments, words):
    with pytest.raises(ValueError, match=words):
        SeedGenerator(method=blobs, **arguments)


def test_bad_classes_and_maps_say_what_is_wrong(model):
    generator = SeedGenerator(method=blobs)
    with pytest.raises(ValueError, match="once"):
        generator(model, ramp_image(), [1, 1])
    with pytest.raises(ValueError, match="-1"):
        generator(model, ramp_image(), [-1])
    broken = SeedGenerator(method=lambda *a: blobs(*a) * float("nan"))
    with pytest.raises(ValueError, match=r"classes \[1\]"):
        broken(model, ramp_image(), [1])
    short = SeedGenerator(method=lambda *a: blobs(*a)[:, :, 0])
    with pytest.raises(ValueError, match="must return maps"):
        short(model, ramp_image(), [1])


def test_options_without_a_method_to_take_them_are_refused():
    with pytest.raises(TypeError, match="gamma"):
        SeedGenerator(method=blobs, gamma=2.0)
    with pytest.raises(TypeError, match="by name"):
        SeedGenerator(method=("hedge", "grad_cam"), gamma=2.0)


def test_hedge_runs_with_gamma_two_unless_told_otherwise():
    assert SeedGenerator().sources[0].options == {"gamma": 2.0}
    assert SeedGenerator(gamma=1.0).sources[0].options == {"gamma": 1.0}
    hedge, cam = SeedGenerator(method=("hedge", "grad_cam"), hedge={"layer": "features"}).sources
    assert hedge.options == {"gamma": 2.0, "layer": "features"}
    assert cam.options == {}


def test_a_single_logit_is_that_of_the_only_class_unless_it_tells_two_apart():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)).eval()
    two = nn.Sequential(*net[:4], nn.Linear(4, 2)).eval()
    with torch.no_grad():
        two[4].weight.copy_(torch.cat([-net[4].weight, net[4].weight]))
        two[4].bias.copy_(torch.cat([-net[4].bias, net[4].bias]))
    image = torch.randn(3, 16, 16)
    only = SeedGenerator().scores(net, image, [0])
    torch.testing.assert_close(only, SeedGenerator().scores(two, image, [1]))
    told = SeedGenerator(binary=True).scores(net, image, [0, 1])
    torch.testing.assert_close(told, SeedGenerator().scores(two, image, [0, 1]))


def test_a_photograph_that_may_not_be_written_to_is_a_picture(model, recwarn):
    photograph = np.zeros((32, 48, 3), np.uint8)
    photograph.flags.writeable = False
    SeedGenerator(method=blobs, refine="guided")(model, ramp_image(), [1], picture=photograph)
    assert not recwarn.list
    with pytest.raises(ValueError, match="picture must be uint8"):
        SeedGenerator(method=blobs, refine="guided")(model, ramp_image(), [1], picture=photograph[:5])


def test_an_image_normalised_with_other_values_is_not_shown_to_a_refiner(model):
    with pytest.raises(ValueError, match="mean and std"):
        SeedGenerator(method=blobs, refine="guided")(model, 200 + ramp_image(), [1])


def test_views_that_agree_are_told_from_views_that_do_not(model):
    def wandering(model, images, targets):
        """Follows the image to its mirror copy, but lights up another place at another size."""
        maps = blobs(model, images, targets)
        return maps if images.shape[-2] == 32 else maps.roll(images.shape[-1] // 2, -1)

    def blind(model, images, targets):
        """Lights up the left whatever the image shows."""
        maps = torch.zeros(len(images), len(targets[0]), *images.shape[-2:])
        maps[..., : images.shape[-1] // 4] = 1.0
        return maps

    steady = SeedGenerator(method=blobs, scales=(1.0, 2.0), flip=True, smoothing=0)(model, ramp_image(), [1])
    assert steady.estimates["flip"] == 1
    assert steady.estimates["scale"] > 0.8
    moved = SeedGenerator(method=wandering, scales=(1.0, 2.0), flip=True, smoothing=0)(model, ramp_image(), [1])
    assert moved.estimates["flip"] > 0.8
    assert moved.estimates["scale"] == 0
    assert SeedGenerator(method=blind, flip=True, smoothing=0)(model, ramp_image(), [1]).estimates == {"flip": 0}
    assert SeedGenerator(method=blobs)(model, ramp_image(), [1]).estimates == {}
