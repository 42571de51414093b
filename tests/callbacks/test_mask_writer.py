import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from hedgeseg.callbacks import MaskWriter
from hedgeseg.data import Shapes, ShapesDataModule, eval_transform
from hedgeseg.models import Segmenter
from hedgeseg.seeds.manifest import FolderMismatchError
from hedgeseg.visual import voc_palette


class Larger(Shapes):
    """Scenes that are 48 x 40 pixels originally."""

    masks = False

    def image(self, index):
        return cv2.resize(super().image(index), (40, 48))


class Original(ShapesDataModule):
    """Such scenes, shown stretched to 32 pixels; if `bad`, the second one cannot be a file."""

    bad = False

    def setup(self, stage=None):
        self.predict_dataset = Larger(4, "predict", image_size=32, transform=eval_transform(32, fit="squash"))
        if self.bad:
            self.predict_dataset.ids[1] = "../out"


@pytest.fixture
def module():
    torch.manual_seed(0)
    return Segmenter(6)


def predict(make_trainer, module, writer, bad=False):
    data = Original(num_train=2, num_val=2, num_predict=4, batch_size=2, image_size=32)
    data.bad = bad
    make_trainer(callbacks=[writer]).predict(module, datamodule=data, return_predictions=False)
    return writer


def test_masks_at_the_pictures_size_with_confidence_and_manifest(make_trainer, tmp_path, module):
    writer = predict(make_trainer, module, MaskWriter(str(tmp_path / "masks"), on_error="raise"))
    assert writer.counts == {"written": 4, "skipped": 0, "failed": 0}
    png = Image.open(tmp_path / "masks" / "predict_00002.png")
    assert png.mode == "P"
    assert png.size == (40, 48)
    assert np.array_equal(np.array(png.getpalette()).reshape(-1, 3), voc_palette())
    with np.load(tmp_path / "masks" / "predict_00002.npz") as stored:
        assert stored["confidence"].shape == (48, 40)
        assert stored["confidence"].dtype == np.float16
    config = json.loads((tmp_path / "masks" / "manifest.json").read_text())["config"]
    assert config["class_names"] == list(Original().classes)
    assert config["flip"] is True


def test_only_labelled_classes_where_asked_for(make_trainer, tmp_path, module):
    predict(make_trainer, module, MaskWriter(str(tmp_path / "m"), {"flip": False}, "label", confidence=False))
    data = Original(num_predict=4, image_size=32)
    data.setup()
    for index, name in enumerate(data.predict_dataset.ids):
        found = set(np.unique(np.array(Image.open(tmp_path / "m" / f"{name}.png"))).tolist())
        assert found <= {0, *(label + 1 for label in data.predict_dataset.labels(index))}
    assert not list((tmp_path / "m").glob("*.npz"))


def test_a_second_run_does_what_is_missing_and_other_settings_are_refused(make_trainer, tmp_path, module):
    folder = tmp_path / "masks"
    predict(make_trainer, module, MaskWriter(str(folder)))
    before = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    (folder / "predict_00003.png").unlink()
    assert predict(make_trainer, module, MaskWriter(str(folder))).counts == {"written": 1, "skipped": 3, "failed": 0}
    assert {path.name: path.read_bytes() for path in folder.glob("*.png")} == before
    with pytest.raises(FolderMismatchError, match="flip"):
        predict(make_trainer, module, MaskWriter(str(folder), {"flip": False}))
    with pytest.raises(FolderMismatchError, match="weights"):
        predict(make_trainer, Segmenter(6), MaskWriter(str(folder)))


def test_an_image_that_fails_is_named_and_the_others_go_on(make_trainer, tmp_path, module):
    with pytest.warns(UserWarning, match=r"image '\.\./out' has no mask: ValueError"):
        writer = predict(make_trainer, module, MaskWriter(str(tmp_path / "masks")), bad=True)
    assert writer.counts == {"written": 3, "skipped": 0, "failed": 1}
    with pytest.raises(ValueError, match="out"):
        predict(make_trainer, module, MaskWriter(str(tmp_path / "again"), on_error="raise"), bad=True)


def test_arguments_out_of_range(tmp_path):
    with pytest.raises(ValueError, match="'all' or 'label'"):
        MaskWriter(str(tmp_path), target="some")
    with pytest.raises(ValueError, match="'warn' or 'raise'"):
        MaskWriter(str(tmp_path), on_error="ignore")
