import numpy as np

from hedgeseg.data import Shapes, describe, sample_sheet


def test_counts_are_those_of_the_samples():
    data = Shapes(30, image_size=32)
    described = describe(data, "scenes")
    labels = np.stack([data[i]["label"].numpy() for i in range(30)])
    assert list(described.images_of.values()) == labels.sum(0).astype(int).tolist()
    assert sum(described.boxes_of.values()) == sum(len(data.boxes(i)[0]) for i in range(30))
    assert described.labels_per_image == labels.sum() / 30
    text = str(described)
    assert text.startswith("scenes: 30 images, 6 classes")
    assert "with masks" in text
    assert all(name in text for name in data.classes)


def test_sheet_holds_no_more_pictures_than_there_are():
    sheet = sample_sheet(Shapes(3, image_size=32), rows=2, columns=2, height=32)
    assert sheet.dtype == np.uint8
    assert sheet.shape[2] == 3
