import numpy as np
import pytest
import torch
from PIL import Image

from hedgeseg.seeds import Seed, write_seed
from hedgeseg.seeds.formats import write_irn, write_mask
from hedgeseg.seeds.validate import validate


def seed(height=8, width=9):
    mask = torch.zeros(height, width, dtype=torch.uint8)
    mask[2:4, 2:4] = 4
    return Seed(torch.rand(1, height, width), [3], mask)


def kinds(problems):
    return {(problem.identifier, problem.kind) for problem in problems}


def test_a_good_folder_has_no_problems(tmp_path):
    write_seed(tmp_path, "a", seed())
    assert validate(tmp_path, sizes={"a": (8, 9)}, num_classes=20, labels={"a": [3]}) == []
    assert validate(tmp_path, "png", sizes={"a": (8, 9)}) == []


def test_sizes_names_and_labels(tmp_path):
    write_seed(tmp_path, "a", seed())
    write_seed(tmp_path, "extra", seed())
    found = validate(tmp_path, sizes={"a": (9, 8), "b": (8, 9)}, num_classes=3, labels={"a": [1]})
    assert kinds(found) == {("a", "size"), ("a", "labels"), ("b", "missing"), ("extra", "unknown"), ("extra", "labels")}
    assert len([p for p in found if p.identifier == "a" and p.kind == "labels"]) == 2


def test_black_masks_foreign_palettes_and_pictures(tmp_path):
    mask = seed().mask.numpy()
    Image.fromarray(mask).save(tmp_path / "black.png")
    grey = Image.fromarray(mask)
    grey.putpalette(list(range(256)) * 3)
    grey.save(tmp_path / "foreign.png")
    Image.new("RGB", (9, 8)).save(tmp_path / "picture.png")
    write_mask(tmp_path, "good", mask)
    expected = {("black", "palette"), ("foreign", "palette"), ("picture", "unreadable")}
    assert kinds(validate(tmp_path, "png")) == expected


def test_broken_files_and_scores_out_of_range(tmp_path):
    (tmp_path / "half.npz").write_bytes(b"PK")
    np.savez(tmp_path / "wild.npz", scores=np.full((1, 8, 9), 3.0, np.float32), classes=np.array([3]))
    write_mask(tmp_path, "wild", np.zeros((8, 9), np.uint8))
    assert kinds(validate(tmp_path)) == {("half", "unreadable"), ("wild", "unreadable")}


def test_scores_without_masks_are_checked_too(tmp_path):
    write_irn(tmp_path, "a", seed())
    with pytest.raises(ValueError, match="allow_pickle"):
        validate(tmp_path, "irn")
    assert validate(tmp_path, "irn", sizes={"a": (8, 9)}, allow_pickle=True) == []
    assert kinds(validate(tmp_path, "irn", sizes={"a": (4, 4)}, allow_pickle=True)) == {("a", "size")}


@pytest.mark.parametrize("marked", [(0, 255), (255,)])
def test_a_mask_of_void_alone_is_not_right(tmp_path, marked):
    mask = np.full((8, 9), marked[0], np.uint8)
    mask[2:4] = 255
    Image.fromarray(mask).save(tmp_path / "a.png")
    found = validate(tmp_path, "png")
    assert ("a", "labels") in kinds(found)
    told = next(problem.message for problem in found if problem.kind == "labels")
    assert "255 counts as void" in told
    assert "--mask-values 255=NAME" in told
    assert not any("right" in problem.message for problem in found)
