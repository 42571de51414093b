import numpy as np
import pytest
from PIL import ExifTags, Image

from hedgeseg.data import Record, RecordedImages, eval_transform
from hedgeseg.data.images import read_image


def record(folder, name, labels, mask=None):
    Image.fromarray(np.full((20, 30, 3), 100, np.uint8)).save(folder / f"{name}.png")
    path = None
    if mask is not None:
        path = folder / f"{name}_ids.png"
        Image.fromarray(np.full((20, 30), mask, np.uint8)).save(path)
    return Record(name, folder / f"{name}.png", labels, path)


def test_a_negative_is_kept_and_an_image_of_unknown_labels_is_not(tmp_path):
    records = [record(tmp_path, "cat", (0,)), record(tmp_path, "none", ()), record(tmp_path, "unknown", None)]
    with pytest.warns(
        UserWarning, match="2 of 3 images used; 1 of them show none of the classes; 1 without a label: unk"
    ):
        data = RecordedImages("zoo", ("cat", "dog"), records)
    assert data.ids == ["cat", "none"]
    assert data.labels(1) == ()
    assert data[1]["label"].tolist() == [0, 0]
    assert data.report.negatives == 1
    assert data.mask(1) is None  # nobody has a mask


def test_a_negative_among_masked_images_has_a_mask_of_background(tmp_path):
    records = [record(tmp_path, "cat", (0,), 1), record(tmp_path, "bare", (0,)), record(tmp_path, "none", ())]
    data = RecordedImages("zoo", ("cat",), records, transform=eval_transform((16, 24)))
    assert data.mask(1) is None
    assert data.mask(2).shape == (20, 30)
    assert not data.mask(2).any()
    assert "mask" not in data[1]
    assert not data[2]["mask"].any()


def test_many_classes_make_a_wide_mask_of_background(tmp_path):
    wide = tmp_path / "wide.png"
    Image.fromarray(np.full((20, 30), 300, np.uint16)).save(wide)
    records = [Record("a", record(tmp_path, "a", (299,)).image, (299,), wide), record(tmp_path, "none", ())]
    data = RecordedImages("wide", [str(i) for i in range(300)], records)
    assert data.mask(1).dtype == np.uint16


def test_negatives_alone_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no image that can be used shows a class; 1 of 1 images used"):
        RecordedImages("zoo", ("cat",), [record(tmp_path, "none", ())])


def test_a_multiclass_data_set_names_the_image_without_a_class(tmp_path):
    records = [record(tmp_path, "cat", (0,)), record(tmp_path, "none", ())]
    data = RecordedImages("zoo", ("cat", "dog"), records, "multiclass")
    with pytest.raises(ValueError, match=r"'none' has 0 classes; .*task='multilabel'"):
        data[1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_background_of_a_turned_photograph_covers_its_pixels(tmp_path, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    masked = record(tmp_path, "cat", (0,), 1)
    data = RecordedImages("zoo", ("cat",), [masked, Record("none", tmp_path / "a.jpg", ())])
    assert data.mask(1).shape == read_image(tmp_path / "a.jpg").shape[:2]
