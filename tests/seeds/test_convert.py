import numpy as np
import pytest
import torch

from hedgeseg.seeds import Seed, read_seed, write_seed
from hedgeseg.seeds.convert import FORMATS, convert
from hedgeseg.seeds.formats import identifiers, read_mask, write_mask


def seed(classes=(3, 14), height=16, width=20):
    scores = torch.zeros(len(classes), height, width)
    mask = torch.zeros(height, width, dtype=torch.uint8)
    for k, c in enumerate(classes):
        scores[k, 2:8, 3 + 8 * k : 9 + 8 * k] = 1.0
        mask[2:8, 3 + 8 * k : 9 + 8 * k] = c + 1
    return Seed(scores, list(classes), mask)


@pytest.fixture
def source(tmp_path):
    for name in ("a", "sub/b"):
        write_seed(tmp_path / "npz", name, seed())
    return tmp_path / "npz"


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"wsol"}))
def test_there_and_back_keeps_the_mask(tmp_path, source, name):
    there = convert(source, tmp_path / name, "npz", name)
    assert there.done == 2
    assert there.failed == {}
    back = convert(tmp_path / name, tmp_path / "back", name, "npz", allow_pickle=True)
    assert back.done == 2
    for identifier in ("a", "sub/b"):
        assert torch.equal(read_seed(tmp_path / "back", identifier).mask, seed().mask)
        assert read_seed(tmp_path / "back", identifier).classes.tolist() == [3, 14]


def test_coco_there_and_back(tmp_path, source):
    names = [str(i) for i in range(20)]
    convert(source, tmp_path / "x.json", "npz", "coco", classes=names)
    back = convert(tmp_path / "x.json", tmp_path / "png", "coco", "png")
    assert back.done == 2
    assert np.array_equal(read_mask(tmp_path / "png", "sub/b"), seed().mask.numpy())


def test_one_bad_file_does_not_stop_the_others(tmp_path, source):
    (source / "bad.npz").write_bytes(b"not a zip")
    report = convert(source, tmp_path / "png", "npz", "png")
    assert report.done == 2
    assert list(report.failed) == ["bad"]
    wsol = convert(source, tmp_path / "wsol", "npz", "wsol")
    assert wsol.done == 0
    assert "of one class" in wsol.failed["a"]


def test_the_ignore_label_survives_a_mask(tmp_path):
    mask = seed().mask.numpy()
    mask[10:] = 255
    write_mask(tmp_path / "png", "a", mask)
    convert(tmp_path / "png", tmp_path / "npz", "png", "npz")
    read = read_seed(tmp_path / "npz", "a")
    assert np.array_equal(read.mask.numpy(), mask)
    assert float(read.scores[:, 10:].sum()) == 0


def test_pickles_formats_and_names_are_checked_first(tmp_path, source):
    convert(source, tmp_path / "irn", "npz", "irn")
    with pytest.raises(ValueError, match="allow_pickle"):
        convert(tmp_path / "irn", tmp_path / "out", "irn", "npz")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="unknown format 'voc'"):
        convert(source, tmp_path / "out", "voc", "npz")
    with pytest.raises(ValueError, match="names its classes"):
        convert(source, tmp_path / "x.json", "npz", "coco")
    with pytest.raises(FileNotFoundError):
        convert(tmp_path / "none", tmp_path / "out", "npz", "png")
    assert identifiers(source, ".npz") == ["a", "sub/b"]
