"""Folders in COCO's format: pictures that cameras turned, before or after they were annotated."""

import numpy as np
import pytest
from miniatures import polygon
from miniatures import write_coco_folder as write_folder
from miniatures import write_instances as write
from PIL import Image

from hedgeseg.data import CocoFolder
from hedgeseg.data.orientation import turned, turned_boxes


def turn_picture(path, orientation):
    """The same picture to look at, stored as a camera would that was held in another way."""
    back = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = turned(np.asarray(Image.open(path).convert("RGB")), back)
    Image.fromarray(pixels).save(path, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("drawn", ["stored", "upright"])
@pytest.mark.parametrize("files", [False, True])
@pytest.mark.parametrize("verify", [False, True])
def test_annotations_of_pictures_that_cameras_turned(tmp_path, orientation, drawn, files, verify):
    """The object is bright: wherever the annotation was drawn, mask and box must be on the bright pixels."""
    content = write_folder(tmp_path, masks=files)
    boxes = [[[5 + i, 4, 25 + i, 24]] for i in range(4)]
    back = {6: 8, 8: 6}.get(orientation, orientation)
    for i in range(4):
        turn_picture(tmp_path / "images" / f"{i:03d}.png", orientation)
    if drawn == "stored":
        content["annotations"] = [item for item in content["annotations"] if item["category_id"] == 7]
        height, width = (40, 30) if orientation > 4 else (30, 40)
        for i, item in enumerate(content["annotations"]):
            x0, y0, x1, y1 = turned_boxes(np.array(boxes[i]), back, (height, width))[0].tolist()
            item |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "segmentation": polygon(x0, y0, x1, y1)}
            content["images"][i] |= {"height": height, "width": width}
            if files:
                path = tmp_path / "masks" / f"{i:03d}.png"
                Image.fromarray(turned(np.asarray(Image.open(path)), back)).save(path)
    write(tmp_path, content)
    ambiguous = orientation in (2, 3, 4)
    if ambiguous and drawn == "upright":
        return  # nothing tells; see the test below
    data = CocoFolder(tmp_path, verify=verify)
    for i in range(4):
        image, mask = data.image(i), data.mask(i)
        assert image.shape == (30, 40, 3)
        bright = image[..., 0] == 200
        fish = (mask == 2) | (mask == 1)
        assert np.array_equal(fish, bright & (mask != 255))
        assert fish.sum() >= 380
        assert data.boxes(i)[0][0].tolist() == boxes[i][0]


def test_the_size_of_some_pictures_tells_how_the_others_were_drawn(tmp_path):
    write_folder(tmp_path)  # drawn upright, all four
    for i, orientation in enumerate((6, 3, 8, 2)):
        turn_picture(tmp_path / "images" / f"{i:03d}.png", orientation)
    data = CocoFolder(tmp_path)
    for i in range(4):
        assert np.array_equal(data.mask(i) > 0, data.image(i)[..., 0] == 200)


def test_a_picture_that_was_resized_after_it_was_annotated_is_left_out(tmp_path):
    write_folder(tmp_path)
    Image.fromarray(np.zeros((15, 20, 3), np.uint8)).save(tmp_path / "images" / "002.png")
    with pytest.warns(UserWarning, match=r"002\.png \(it was annotated at 30 x 40 but the file is 15 x 20"):
        data = CocoFolder(tmp_path)
    assert data.ids == ["000", "001", "003"]
    with pytest.raises(ValueError, match=r"image '002'.*annotated at 30 x 40"):
        CocoFolder(tmp_path, verify=False)[2]
