import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from hedgeseg.seeds import Seed, read_seed, write_seed
from hedgeseg.seeds.manifest import open_folder
from hedgeseg.seeds.report import seed_panels, write_report


class Images:
    classes = ("cat", "<b>dog</b>")
    ids = ("good", "bad", "none")

    def image(self, index):
        return np.full((20, 30, 3), 90, np.uint8)

    def mask(self, index):
        mask = np.zeros((20, 30), np.uint8)
        mask[5:15, 5:20] = 1 + index % 2
        return mask


class Unmasked(Images):
    def mask(self, index):
        return None


@pytest.fixture
def folder(tmp_path):
    good = torch.from_numpy(Images().mask(0))
    write_seed(tmp_path / "seeds", "good", Seed((good == 1)[None].float(), [0], good, torch.ones(20, 30)))
    blank = torch.zeros(20, 30, dtype=torch.uint8)
    write_seed(tmp_path / "seeds", "bad", Seed(torch.zeros(1, 20, 30), [1], blank, torch.ones(20, 30)))
    return tmp_path / "seeds"


def test_one_file_holds_everything(folder, tmp_path):
    page = write_report(tmp_path / "report.html", folder, Images(), title="a < b").read_text()
    assert "2 seeds; 1 images of the data set have none" in page
    assert "a &lt; b" in page
    assert "&lt;b&gt;dog&lt;/b&gt;" in page
    assert len(re.findall(r"data:image/png;base64,", page)) == 3  # the curve, and a row per seed
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_without_true_masks_it_says_what_it_can(folder, tmp_path):
    page = write_report(tmp_path / "report.html", folder, Unmasked()).read_text()
    assert "Without true masks" in page
    assert "mIoU" not in page


def test_failures_and_disagreements_are_told(folder, tmp_path):
    open_folder(tmp_path / "made", {}).record_failure("none", ValueError("out of luck"))
    for name in ("good", "bad"):
        write_seed(tmp_path / "made", name, replace(read_seed(folder, name), estimates={"flip": 0.25}))
    page = write_report(tmp_path / "report.html", tmp_path / "made", Images()).read_text()
    assert "ValueError: out of luck" in page
    assert "CRF" in page
    assert "between scales" not in page  # nothing has measured it
    assert "<td>disagreement with the mirrored image</td><td>0.750</td>" in page
    assert "CRF of the mask" not in write_report(tmp_path / "r.html", folder, Images(), crf=False).read_text()


def test_panels_show_the_true_mask_where_there_is_one():
    blank = Seed(torch.zeros(0, 20, 30), [], torch.zeros(20, 30))
    assert len(seed_panels(Images().image(0), blank, None)) == 3
    assert [p.shape for p in seed_panels(Images().image(0), blank, Images().mask(0))] == [(20, 30, 3)] * 4


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no seed of the 3 images"):
        write_report(tmp_path / "report.html", tmp_path, Images())
