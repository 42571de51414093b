import numpy as np
import pytest
import torch
from PIL import Image

from hedgeseg.seeds import Seed, read_seed, write_seed
from hedgeseg.seeds.formats.files import file_in, identifiers, replacing
from hedgeseg.seeds.formats.native import has_seed
from hedgeseg.seeds.formats.palette import read_mask, write_mask
from hedgeseg.visual import voc_palette


def seed(height=9, width=7):
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(2, height, width, generator=generator)
    mask = torch.zeros(height, width, dtype=torch.uint8)
    mask[0, 0], mask[1, 1], mask[2, 2] = 4, 15, 255
    return Seed(scores, torch.tensor([3, 14]), mask, scores[0])


@pytest.mark.parametrize("scores", ["full", "quarter", "none"])
def test_a_seed_of_no_class_is_read_again(tmp_path, scores):
    nothing = torch.zeros(0, 9, 7), torch.zeros(0, dtype=torch.int64), torch.zeros(9, 7, dtype=torch.uint8)
    write_seed(tmp_path, "good", Seed(*nothing), scores=scores)
    read = read_seed(tmp_path, "good")
    assert read.scores.shape == (0, 9, 7)
    assert read.scores.dtype == torch.float32
    assert not read.mask.any()


def test_what_is_written_is_read(tmp_path):
    wrote = seed()
    write_seed(tmp_path, "2007_000032", wrote)
    read = read_seed(tmp_path, "2007_000032")
    for name in ("scores", "classes", "mask", "confidence"):
        assert torch.equal(getattr(read, name), getattr(wrote, name))
        assert getattr(read, name).dtype == getattr(wrote, name).dtype


def test_an_empty_seed_survives(tmp_path):
    wrote = Seed(torch.zeros(0, 4, 5), torch.zeros(0), torch.zeros(4, 5))
    write_seed(tmp_path, "none", wrote)
    read = read_seed(tmp_path, "none")
    assert read.scores.shape == (0, 4, 5)
    assert read.confidence is None


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    first = [path.read_bytes() for path in write_seed(tmp_path / "a", "x", seed())]
    second = [path.read_bytes() for path in write_seed(tmp_path / "b", "x", seed())]
    assert first == second


def test_half_precision_halves_and_rounds(tmp_path):
    wrote = seed(64, 64)
    full, _ = write_seed(tmp_path, "full", wrote)
    half, _ = write_seed(tmp_path, "half", wrote, precision="float16")
    assert half.stat().st_size < 0.7 * full.stat().st_size
    assert torch.allclose(read_seed(tmp_path, "half").scores, wrote.scores, atol=1e-3)


def test_the_mask_is_a_voc_palette_png(tmp_path):
    _, path = write_seed(tmp_path, "a", seed())
    with Image.open(path) as image:
        assert image.mode == "P"
        assert image.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
        assert image.getpalette()[-3:] == [224, 224, 192]
        assert np.array_equal(np.asarray(image), seed().mask.numpy())


def test_the_palette_is_that_of_real_voc_masks(shared):
    path = next((shared / "data" / "coco_voc" / "masks").glob("*.png"))
    with Image.open(path) as image:
        stored = np.array(image.getpalette(), dtype=np.uint8).reshape(-1, 3)
    assert np.array_equal(voc_palette()[: len(stored)], stored)


def test_grey_masks_are_read_as_labels_and_pictures_are_refused(tmp_path):
    Image.fromarray(np.full((2, 3), 7, dtype=np.uint8)).save(tmp_path / "grey.png")
    assert read_mask(tmp_path, "grey").tolist() == [[7] * 3] * 2
    Image.new("RGB", (2, 2)).save(tmp_path / "colour.png")
    with pytest.raises(ValueError, match="mode RGB"):
        read_mask(tmp_path, "colour")


def test_nothing_is_unpickled(tmp_path):
    write_mask(tmp_path, "evil", np.zeros((2, 2), np.uint8))
    np.savez(tmp_path / "evil.npz", scores=np.array([{"a": 1}], dtype=object), classes=np.array([0]))
    with pytest.raises(ValueError, match="pickle"):
        read_seed(tmp_path, "evil")


@pytest.mark.parametrize("identifier", ["../x", "/x", "a/../../x", "", ".", "..", "a\\b", "a\0b", ".hidden", "a/"])
def test_a_name_cannot_leave_the_folder(tmp_path, identifier):
    with pytest.raises(ValueError, match="cannot be a file name"):
        write_seed(tmp_path / "out", identifier, seed())
    assert list(tmp_path.rglob("*.png")) == []


def test_a_link_cannot_lead_out_of_the_folder(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="outside"):
        write_seed(tmp_path / "out", "link/x", seed())


def test_ids_with_subfolders_and_dots(tmp_path):
    write_seed(tmp_path, "n01440764/img.v2", seed())
    assert identifiers(tmp_path, ".png") == ["n01440764/img.v2"]
    assert has_seed(tmp_path, "n01440764/img.v2")
    assert not has_seed(tmp_path, "n01440764/img")


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = file_in(tmp_path, "a", ".txt")
    path.write_text("old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nobody\.npz"):
        read_seed(tmp_path, "nobody")
    with pytest.raises(FileNotFoundError, match="no folder"):
        identifiers(tmp_path / "nowhere", ".png")


def test_estimates_come_back(tmp_path):
    seed = Seed(torch.zeros(1, 4, 6), [0], torch.zeros(4, 6), estimates={"flip": 0.5, "scale": 0.25})
    write_seed(tmp_path, "a", seed)
    assert read_seed(tmp_path, "a").estimates == {"flip": 0.5, "scale": 0.25}
