import numpy as np
import pytest
from pycocotools import mask as rle

from hedgeseg.coco_segmentation import UnusableSegmentationError, encode, read_segmentation, uncompressed


def region(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 70, 2).tolist()
    return (rng.random((height, width)) < rng.random()).astype(np.uint8)


@pytest.mark.parametrize("seed", range(20))
def test_run_lengths_in_every_form_give_the_same_pixels(seed):
    mask = region(seed)
    compressed = rle.encode(np.asfortranarray(mask))
    counts = uncompressed(compressed["counts"])
    assert np.array_equal(np.repeat(np.arange(len(counts)) % 2, counts).reshape(mask.shape[::-1]).T, mask)
    size = list(mask.shape)
    forms = (
        {"size": size, "counts": counts},
        {"size": size, "counts": compressed["counts"]},
        {"size": size, "counts": compressed["counts"].decode()},
        [{"size": size, "counts": counts}],
    )
    for form in forms:
        shape = read_segmentation(form, mask.shape)
        assert np.array_equal(rle.decode(encode(shape, mask.shape)), mask)


def test_lists_are_joined():
    parts = [{"size": [2, 3], "counts": [1, 1, 4]}, {"size": [2, 3], "counts": [4, 2]}]
    assert rle.decode(encode(read_segmentation(parts, (2, 3)), (2, 3))).tolist() == [[0, 0, 1], [1, 0, 1]]
    squares = [[0, 0, 2, 0, 2, 2, 0, 2], [4, 0, 6, 0, 6, 2, 4, 2]]
    assert rle.decode(encode(read_segmentation(squares, (2, 6)), (2, 6))).tolist() == [[1, 1, 0, 0, 1, 1]] * 2


def test_polygons_may_leave_the_image_a_little():
    shape = read_segmentation([[-3, -3, 3, -3, 3, 3, -3, 3]], (4, 5))
    assert rle.decode(encode(shape, (4, 5))).sum() == 9


@pytest.mark.parametrize("text", ["0", "00", "P", "xx~~", "\x7f", "zzzzzzzzzzzzzzzzzz", "o" * 500])
def test_damaged_text_never_reaches_pycocotools(text):
    with pytest.raises(UnusableSegmentationError):
        read_segmentation({"size": [3, 4], "counts": text}, (3, 4))


def test_every_cut_of_a_text_is_noticed():
    mask = region(3)
    counts = rle.encode(np.asfortranarray(mask))["counts"]
    for end in range(len(counts)):
        with pytest.raises(UnusableSegmentationError):
            read_segmentation({"size": list(mask.shape), "counts": counts[:end]}, mask.shape)
