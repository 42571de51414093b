import warnings

import cv2
import numpy as np
import pytest
from PIL import Image

from hedgeseg.data.images import read_image, unreadable

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def test_grey_gets_three_equal_channels(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.repeat(RAMP[..., None], 3, 2))


def test_sixteen_bits_keep_the_high_byte(tmp_path):
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert np.array_equal(read_image(tmp_path / "deep.png")[..., 0], RAMP)


def test_transparent_pixels_are_white(tmp_path):
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = (255, 0, 0, 255)
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    assert read_image(tmp_path / "alpha.png").tolist() == [[[255, 0, 0], [255] * 3], [[255] * 3, [255] * 3]]


def test_palette(tmp_path):
    image = Image.fromarray(RAMP // 20)
    image.putpalette([value for i in range(256) for value in (i * 3 % 256, 0, 9)])
    image.save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png")[2, 3].tolist() == [33, 0, 9]


def test_cmyk(tmp_path):
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    red = read_image(tmp_path / "print.jpg")[2, 2]
    assert red[0] > 200
    assert red[1:].max() < 60


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, lambda upright: upright),
        (2, lambda upright: upright[:, ::-1]),
        (3, lambda upright: upright[::-1, ::-1]),
        (4, lambda upright: upright[::-1]),
        (5, lambda upright: upright.T),
        (6, lambda upright: np.rot90(upright, 1)),  # the camera lay on its side
        (7, lambda upright: upright[::-1, ::-1].T),
        (8, lambda upright: np.rot90(upright, -1)),
    ],
)
def test_exif_orientation_is_undone(tmp_path, orientation, stored):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.ascontiguousarray(np.repeat(stored(RAMP)[..., None], 3, 2))
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "turned.png")[..., 0], RAMP)


def test_sixteen_bits_in_colour_and_in_tiff(tmp_path):
    colour = np.stack([RAMP, RAMP + 5, RAMP + 9], 2).astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "deep.png"), colour[..., ::-1])
    assert np.array_equal(read_image(tmp_path / "deep.png"), colour // 257)
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "deep.tiff")
    assert np.array_equal(read_image(tmp_path / "deep.tiff")[..., 1], RAMP)


def test_grey_with_transparency_and_one_bit(tmp_path):
    pixels = np.stack([RAMP, np.where(RAMP > 100, 255, 0).astype(np.uint8)], 2)
    Image.fromarray(pixels, "LA").save(tmp_path / "la.png")
    assert np.array_equal(read_image(tmp_path / "la.png")[..., 2], np.where(RAMP > 100, RAMP, 255))
    Image.fromarray(RAMP > 100).save(tmp_path / "bit.png")
    assert np.array_equal(read_image(tmp_path / "bit.png")[..., 0], np.where(RAMP > 100, 255, 0))


def test_huge_images_are_read_without_a_word(tmp_path, monkeypatch):
    Image.fromarray(RAMP).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 8)  # 12 pixels: enough for Pillow's warning, not for its error
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "large.png").shape == (3, 4, 3)
        assert not unreadable([tmp_path / "large.png"])


def test_more_pixels_than_pillow_takes_for_safe(tmp_path, monkeypatch):
    Image.fromarray(RAMP).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with pytest.raises(OSError, match=r"huge\.png.*exceeds limit"):
        read_image(tmp_path / "huge.png")
    assert "exceeds limit" in unreadable([tmp_path / "huge.png"])[tmp_path / "huge.png"]


def test_broken_files_are_found_with_their_reason(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    names = ("whole.jpg", "cut.jpg", "text.jpg", "empty.jpg", "gone.jpg")
    broken = unreadable(tmp_path / name for name in names)
    assert [path.name for path in broken] == ["cut.jpg", "text.jpg", "empty.jpg", "gone.jpg"]
    assert "truncated" in broken[tmp_path / "cut.jpg"]
    for name in names[1:]:
        with pytest.raises(OSError, match=name.replace(".", r"\.")):
            read_image(tmp_path / name)
