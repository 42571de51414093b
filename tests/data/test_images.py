import warnings
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from hedgeseg.data.images import read_image, unreadable

SRGB_TO_LAB = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
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


DEEP = np.linspace(0, 1, 60).reshape(5, 12)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_depth_is_read_in_its_range(tmp_path, bits, suffix, channels):
    values = np.rint(DEEP * (2**bits - 1)).astype(np.uint16)
    expected = np.repeat((values >> (bits - 8))[..., None], 3, axis=2).astype(np.uint8)
    if channels == 3:
        expected[..., 0] = expected[::-1, :, 0]
    stored = values if channels == 1 else np.stack([values, values, values if channels == 4 else values[::-1]], axis=2)
    if channels == 4:  # half of it transparent
        alpha = np.full((5, 12), 65535, np.uint16)
        alpha[3:] = 0
        stored, expected[3:] = np.dstack([stored, alpha]), 255
    path = tmp_path / f"deep.{suffix}"
    assert cv2.imwrite(str(path), stored)  # blue first
    assert np.array_equal(read_image(path), expected)
    assert not unreadable([path])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 255), (0, 4095), (0, 65535), (-1000, 3000), (-1, 1), (0, 1e9), (0.2, 0.7)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_fractions_are_read_in_their_range(tmp_path, dtype, low, high, channels):
    values = (low + DEEP * (high - low)).astype(dtype)
    path = tmp_path / "fractions.tiff"
    assert cv2.imwrite(str(path), values if channels == 1 else np.repeat(values[..., None], 3, axis=2))
    expected = DEEP * 255 if high != 0.7 else (0.2 + DEEP * 0.5) * 255
    found = read_image(path)
    assert found.shape == (5, 12, 3)
    assert np.abs(found - expected[..., None]).max() <= 1
    assert not unreadable([path])


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_negative_values_and_32_bits(tmp_path, dtype):
    values = np.rint(-1000 + DEEP * 4000).astype(dtype)
    cv2.imwrite(str(tmp_path / "tomography.tiff"), values)
    assert np.abs(read_image(tmp_path / "tomography.tiff")[..., 1] - DEEP * 255).max() <= 1


def test_what_is_not_a_number_is_dark(tmp_path):
    values = DEEP.astype(np.float32)
    values[0, :2], values[0, 2] = np.nan, np.inf
    Image.fromarray(values).save(tmp_path / "holes.tiff")
    found = read_image(tmp_path / "holes.tiff")[..., 0]
    assert found[0, :3].tolist() == [round(values[0, 3] * 255)] * 2 + [255]
    Image.fromarray(np.full((2, 2), np.nan, np.float32)).save(tmp_path / "nothing.tiff")
    assert not read_image(tmp_path / "nothing.tiff").any()


def test_one_value_all_over(tmp_path):
    Image.fromarray(np.full((2, 2), 40000, np.uint16)).save(tmp_path / "even.png")
    assert (read_image(tmp_path / "even.png") == 40000 >> 8).all()
    Image.fromarray(np.full((2, 2), -5.0, np.float32)).save(tmp_path / "even.tiff")
    assert (read_image(tmp_path / "even.tiff") == 0).all()


def test_deep_pictures_are_turned_as_well(tmp_path):
    """A camera's mark in a PNG of three times 16 bits, which OpenCV reads and Pillow would not keep."""
    stored = np.rint(DEEP * 65535).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "colour.png"), np.repeat(stored[..., None], 3, axis=2))
    exif = Image.Exif()
    exif[0x0112] = 6
    content = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = b"eXIf" + content
    whole = len(content).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    plain = (tmp_path / "colour.png").read_bytes()
    (tmp_path / "colour.png").write_bytes(plain[:33] + whole + plain[33:])  # after the header
    assert np.array_equal(read_image(tmp_path / "colour.png")[..., 0], np.rot90(stored >> 8, -1))
    Image.fromarray(stored).save(tmp_path / "grey.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "grey.png")[..., 0], np.rot90(stored >> 8, -1))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB"])
def test_every_mode_of_tiff(tmp_path, mode):
    colours = np.zeros((4, 6, 3), np.uint8)
    colours[:, :3] = 255
    image = Image.fromarray(colours)
    if mode == "LAB":
        image = ImageCms.profileToProfile(image, *SRGB_TO_LAB, outputMode="LAB")
    else:
        image = (image.convert("P") if mode == "PA" else image).convert(mode)
    image.save(tmp_path / "x.tiff")
    assert np.abs(read_image(tmp_path / "x.tiff").astype(int) - colours).max() <= 8
