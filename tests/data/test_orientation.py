import numpy as np
import pytest
from PIL import Image

from hedgeseg.data.images import read_image
from hedgeseg.data.orientation import Header, read_header, turn_of, turned, turned_boxes, usual_frame


@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_arrays_and_boxes_go_where_pillow_puts_the_pixels(tmp_path, orientation, suffix):
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(pixels).save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    header = read_header(path)
    assert header == Header((5, 7), orientation)
    upright = read_image(path)
    assert upright.shape[:2] == header.upright
    assert np.array_equal(turned(pixels, orientation), upright)
    region = np.zeros((5, 7), bool)
    region[1:3, 2:6] = True
    rows, columns = np.nonzero(turned(region, orientation))
    box = turned_boxes(np.array([[2, 1, 6, 3]]), orientation, header.upright)
    assert box.tolist() == [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]


@pytest.mark.parametrize("value", [0, 9, 77])
def test_an_orientation_that_means_nothing(tmp_path, value):
    exif = Image.Exif()
    exif[0x0112] = value
    Image.new("RGB", (7, 5)).save(tmp_path / "x.png", exif=exif)
    assert read_header(tmp_path / "x.png") == Header((5, 7))


def test_the_size_tells_the_frame():
    header = Header((5, 7), 6)
    assert turn_of(header, (5, 7)) == 6
    assert turn_of(header, (7, 5)) == 1
    assert turn_of(header, None) == 6
    assert turn_of(header, None, "upright") == 1
    assert turn_of(Header((5, 7), 3), (5, 7)) == 3  # half a turn: the size does not tell
    assert turn_of(Header((5, 7), 3), (5, 7), "upright") == 1
    with pytest.raises(ValueError, match="annotated at 10 x 14 but the file is 5 x 7"):
        turn_of(header, (10, 14))


def test_the_usual_frame_is_that_of_the_pictures_that_tell():
    told, silent = Header((5, 7), 6), Header((5, 7), 3)
    assert usual_frame([told, silent], [(7, 5), (5, 7)]) == "upright"
    assert usual_frame([told, silent], [(5, 7), (5, 7)]) == "stored"
    assert usual_frame([told, told], [(5, 7), (7, 5)]) == "stored"
    assert usual_frame([silent], [(5, 7)]) == "stored"
    assert usual_frame([], []) == "stored"
