import numpy as np
import pytest
import torch
from PIL import ImageFont
from processes import loaded_modules

from hedgeseg import visual


def ramp(height=20, width=30):
    return torch.linspace(-2, 2, height * width).reshape(height, width)


def test_seismic_is_white_at_zero_red_above_blue_below():
    picture = visual.seismic(torch.tensor([[-1.0, 0.0, 1.0]]))
    assert picture.dtype == np.uint8
    assert picture.shape == (1, 3, 3)
    assert picture[0, 1].tolist() == [255, 255, 255]
    assert picture[0, 0, 2] > picture[0, 0, 0]
    assert picture[0, 2, 0] > picture[0, 2, 2]


def test_seismic_is_antisymmetric_in_strength():
    """Equal strengths of the two signs are equally far from white."""
    relevance = ramp()
    distance = lambda picture: (255 - picture[..., 1]).astype(int)  # noqa: E731
    assert np.array_equal(distance(visual.seismic(relevance)), distance(visual.seismic(-relevance)))


def test_one_hot_pixel_does_not_bleach_the_map():
    relevance = np.random.default_rng(0).normal(size=(50, 50)).astype(np.float32)
    spiked = relevance.copy()
    spiked[0, 0] = 1e6
    assert visual.robust_scale(spiked) < 2 * visual.robust_scale(relevance)


def test_scale_of_sparse_zero_and_nan_maps():
    sparse = np.zeros((100, 100), np.float32)
    sparse[3, 4] = 5
    assert visual.robust_scale(sparse) == 5
    assert visual.robust_scale(np.zeros((4, 4))) == 1
    assert (visual.seismic(np.zeros((4, 4))) == 255).all()
    assert (visual.seismic(np.full((4, 4), np.nan)) == 140).all()
    assert visual.robust_scale(np.array([[np.nan, np.inf, 2.0]])) == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_maps_of_any_float_dtype(dtype):
    assert visual.seismic(ramp().to(dtype)).shape == (20, 30, 3)


def test_overlay_keeps_the_picture_where_relevance_is_zero():
    image = np.full((8, 8, 3), 120, np.uint8)
    relevance = np.zeros((8, 8), np.float32)
    relevance[0, 0], relevance[7, 7] = 1, -1
    drawn = visual.overlay(image, relevance)
    assert len(np.unique(drawn[1:7, 1:7])) == 1
    assert drawn[0, 0, 0] > drawn[0, 0, 2]
    assert drawn[7, 7, 2] > drawn[7, 7, 0]


def test_overlay_resizes_a_coarse_map():
    assert visual.overlay(np.zeros((32, 48, 3), np.uint8), ramp(4, 6)).shape == (32, 48, 3)


def test_denormalise_undoes_the_normalisation():
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    mean, std = visual.IMAGENET_MEAN, visual.IMAGENET_STD
    image = (torch.from_numpy(picture).permute(2, 0, 1) / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[
        :, None, None
    ]
    assert np.array_equal(visual.denormalise(image, mean, std), picture)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 13])
def test_denormalise_draws_any_number_of_channels(channels):
    assert visual.denormalise(torch.randn(channels, 5, 6)).shape == (5, 6, 3)


def test_denormalise_takes_unnormalised_images_as_they_are():
    unit = torch.tensor([0.0, 0.5, 0.9]).reshape(3, 1, 1)
    assert visual.denormalise(unit)[0, 0].tolist() == [0, 128, 230]
    assert visual.denormalise(unit * 255)[0, 0].tolist() == [0, 128, 230]


def test_denormalise_names_a_mean_of_the_wrong_length():
    with pytest.raises(ValueError, match=r"mean has 3 entries for an image of 4 channels"):
        visual.denormalise(torch.zeros(4, 2, 2), (0.1, 0.2, 0.3), (1.0, 1.0, 1.0))


def test_voc_palette_has_the_published_colours():
    palette = visual.voc_palette()
    assert palette.shape == (256, 3)
    expected = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        4: (0, 0, 128),
        15: (192, 128, 128),
        20: (0, 64, 128),
        255: (224, 224, 192),
    }
    assert {i: tuple(map(int, palette[i])) for i in expected} == expected


def test_colour_mask_leaves_the_background_of_an_image():
    image = np.full((4, 4, 3), 50, np.uint8)
    mask = np.zeros((4, 4), np.int64)
    mask[1, 1] = 3
    drawn = visual.colour_mask(mask, image)
    assert (drawn == 50).all(axis=2).sum() == 15
    assert tuple(visual.colour_mask(mask)[1, 1]) == (128, 128, 0)


def test_colour_mask_errors():
    with pytest.raises(ValueError, match="ids from -1 to 0"):
        visual.colour_mask(np.array([[-1, 0]]))
    with pytest.raises(ValueError, match=r"mask is \(2, 2\)"):
        visual.colour_mask(np.zeros((2, 2)), np.zeros((3, 3, 3), np.uint8))


def test_outline_is_the_border_only():
    region = np.zeros((7, 7), bool)
    region[1:6, 1:6] = True
    drawn = visual.outline(np.zeros((7, 7, 3), np.uint8), region)
    assert (drawn.sum(axis=2) > 0).sum() == 16


def test_sheet_sizes_and_unequal_rows():
    small, large = np.zeros((20, 30, 3), np.uint8), np.zeros((40, 40, 3), np.uint8)
    assert visual.side_by_side([small, large], gap=4).shape == (20, 30 + 4 + 20, 3)
    sheet = visual.contact_sheet([[small, small], [large]], columns=("a", "b"), rows=("one", "two"), title="t")
    assert sheet.shape[2] == 3
    assert (sheet == 255).any()


def test_long_captions_are_kept_inside_the_sheet():
    text = "a very long caption of a row, longer than its panels are wide"
    sheet = visual.contact_sheet([[np.zeros((20, 30, 3), np.uint8)]], rows=(text,))
    assert sheet.shape[1] >= ImageFont.load_default(11).getlength(text)


def test_refusals():
    with pytest.raises(TypeError, match="uint8"):
        visual.as_picture(np.zeros((2, 2, 3), np.float32))
    with pytest.raises(ValueError, match="at least one panel"):
        visual.contact_sheet([])
    with pytest.raises(ValueError, match="1 row captions for 2 rows"):
        visual.contact_sheet([[np.zeros((2, 2, 3), np.uint8)]] * 2, rows=("a",))
    with pytest.raises(ValueError, match="expected 2 dimensions"):
        visual.seismic(torch.zeros(1, 2, 2))


def test_import_is_light():
    assert not {"matplotlib", "lightning", "wandb"} & set(loaded_modules()["hedgeseg.visual"])


def test_same_size_pads_with_white():
    small, large = np.zeros((2, 3, 3), np.uint8), np.zeros((4, 2, 3), np.uint8)
    padded = visual.same_size([small, large])
    assert {p.shape for p in padded} == {(4, 3, 3)}
    assert (padded[0][:2] == 0).all()
    assert (padded[0][2:] == 255).all()
    assert visual.same_size([]) == []
