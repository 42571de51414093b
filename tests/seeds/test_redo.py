import numpy as np
import pytest
import torch
from torch import nn

from hedgeseg.seeds import SeedGenerator, read_seed, write_seed
from hedgeseg.seeds.auto_level import Auto, PooledMoments
from hedgeseg.seeds.convert import convert
from hedgeseg.seeds.cutting import cut_seed
from hedgeseg.seeds.formats import write_mask
from hedgeseg.seeds.manifest import FolderMismatchError
from hedgeseg.seeds.redo import redo
from hedgeseg.seeds.relevel import cut_again, forget_levels, is_cut_at, note_levels, pooled_levels
from hedgeseg.seeds.spread import Affinity


def scores(classes, size, seed):
    generator = torch.Generator().manual_seed(seed)
    found = torch.rand(len(classes), *size, generator=generator) ** 2
    return found / found.amax((1, 2), keepdim=True) if len(classes) else found


IMAGES = {"a": ([3, 14], (16, 20)), "sub/b": ([3], (24, 12)), "none": ([], (10, 10))}


@pytest.fixture
def source(tmp_path):
    for i, (name, (classes, size)) in enumerate(IMAGES.items()):
        write_seed(tmp_path / "seeds", name, cut_seed(scores(classes, size, i), torch.tensor(classes), Auto()))
    return tmp_path / "seeds"


def photograph(name):
    return np.full((*IMAGES[name][1], 3), 7, np.uint8)


def test_a_level_is_moved_without_the_network(source, tmp_path):
    report = redo(source, tmp_path / "new", background=0.8)
    assert (report.done, report.failed) == (3, {})
    for i, (name, (classes, size)) in enumerate(IMAGES.items()):
        seed = read_seed(tmp_path / "new", name)
        given = scores(classes, size, i)
        torch.testing.assert_close(seed.scores, given)
        if classes:
            assert torch.equal(seed.mask != 0, (given > 0.8).any(0))


def test_auto_takes_the_level_over_all_images_of_a_class(source, tmp_path):
    redo(source, tmp_path / "new")
    pooled = PooledMoments()
    for i, (classes, size) in enumerate(IMAGES.values()):
        pooled.add(scores(classes, size, i), classes)
    level = Auto().level(pooled[3])
    assert torch.equal(read_seed(tmp_path / "new", "sub/b").mask == 4, scores([3], (24, 12), 1)[0] > level)
    assert level != Auto().levels(scores([3], (24, 12), 1))[0].item()


@pytest.mark.parametrize("name", ["irn", "psa", "clip_es", "psa_crf"])
def test_files_of_other_tools(source, tmp_path, name):
    convert(source, tmp_path / "theirs", "npz", name)
    with pytest.raises(ValueError, match="allow-pickle"):
        redo(tmp_path / "theirs", tmp_path / "new", name)
    report = redo(tmp_path / "theirs", tmp_path / "new", name, background=0.6, allow_pickle=True)
    assert set(report.failed) <= {"none"}  # a file without a map may not tell its size
    redo(source, tmp_path / "ours", background=0.6)
    theirs, ours = (read_seed(tmp_path / folder, "a") for folder in ("new", "ours"))
    assert (theirs.mask == ours.mask).float().mean() > 0.99  # some of them round


def test_a_refiner_sees_the_photograph_and_scores_come_to_its_size(source, tmp_path):
    seen = []

    def everything(picture, probabilities):
        seen.append(tuple(picture.shape))
        answer = torch.zeros_like(probabilities)
        answer[1] = 1
        return answer

    larger = {name: (2 * h, 2 * w) for name, (_, (h, w)) in IMAGES.items()}
    report = redo(source, tmp_path / "new", refine=everything, picture=lambda n: np.zeros((*larger[n], 3), np.uint8))
    assert report.failed == {}
    assert seen == [(*larger["a"], 3), (*larger["sub/b"], 3)]
    seed = read_seed(tmp_path / "new", "a")
    assert seed.size == larger["a"]
    assert (seed.mask == 4).all()
    assert seed.scores.amax() <= 1  # they stay what they were, to be cut again


def test_scores_are_spread_over_what_is_alike(source, tmp_path):
    half = Affinity(torch.full((4, 4), 0.25), (2, 2))  # all places alike: everything gets the mean
    redo(source, tmp_path / "new", alike=lambda name: half, background=0.5)
    torch.testing.assert_close(read_seed(tmp_path / "new", "a").scores, torch.ones(2, 16, 20))


def test_it_goes_on_where_it_was_and_refuses_other_settings(source, tmp_path):
    redo(source, tmp_path / "new")
    (tmp_path / "new" / "a.png").unlink()
    before = (tmp_path / "new" / "sub" / "b.png").stat().st_mtime_ns
    assert redo(source, tmp_path / "new").done == 3
    assert (tmp_path / "new" / "sub" / "b.png").stat().st_mtime_ns == before
    with pytest.raises(FolderMismatchError, match="background"):
        redo(source, tmp_path / "new", background=0.3)


def test_what_cannot_be_done_says_why(source, tmp_path):
    write_mask(tmp_path / "masks", "a", np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match="no scores"):
        redo(tmp_path / "masks", tmp_path / "new", "png")
    with pytest.raises(ValueError, match="choose another"):
        redo(source, source)
    with pytest.raises(ValueError, match="photographs"):
        redo(source, tmp_path / "new", refine="pamr")
    (source / "a.npz").write_bytes(b"broken")
    report = redo(source, tmp_path / "new")
    assert list(report.failed) == ["a"]
    assert report.done == 2


def test_the_second_pass_over_a_folder(source):
    levels = pooled_levels(source, Auto())
    assert sorted(levels) == [3, 14]
    assert not is_cut_at(source, levels)
    for part in ((0, 2), (1, 2)):
        cut_again(source, levels, lambda name, seed: write_seed(source, name, seed), part=part)
    note_levels(source, levels)
    assert is_cut_at(source, levels)
    assert torch.equal(read_seed(source, "sub/b").mask == 4, scores([3], (24, 12), 1)[0] > levels[3])
    forget_levels(source)
    assert not is_cut_at(source, levels)
    left = cut_again(source, levels, lambda *_: None, SeedGenerator(refine="guided").refiner, lambda *_: None)
    assert left == ["a", "sub/b"]


class Colours(nn.Module):
    """Colours averaged over 8 pixels, and over 16."""

    def __init__(self):
        super().__init__()
        self.eighth, self.sixteenth = nn.AvgPool2d(8), nn.AvgPool2d(2)

    def forward(self, images):
        return self.sixteenth(self.eighth(images)).mean((2, 3))


def red_square(name):
    image = torch.zeros(3, 64, 64)
    if name != "none":
        start = 16 * int(name[1:]) % 32
        image[0, 16:48, start : start + 32] = 1
    return image


def test_seeds_are_judged_again_by_what_they_have_in_common(tmp_path, monkeypatch):
    monkeypatch.setattr("hedgeseg.seeds.places.STEPS", 60)
    monkeypatch.setattr("hedgeseg.seeds.places.BATCH", 500)
    for i in range(8):  # each misses a quarter of its square, in turn another
        found = red_square(f"i{i}")[:1].clone()
        rows, start = slice(16, 32) if i % 4 < 2 else slice(32, 48), 16 * i % 32 + 16 * (i % 2)
        found[0, rows, start : start + 16] = 0
        write_seed(tmp_path / "seeds", f"i{i}", cut_seed(found, torch.tensor([3]), Auto()))
    write_seed(tmp_path / "seeds", "none", cut_seed(torch.zeros(0, 64, 64), torch.tensor([]), Auto()))
    report = redo(tmp_path / "seeds", tmp_path / "new", refit=(Colours(), red_square))
    assert (report.done, report.failed) == (9, {})
    for i in range(8):
        new, old = (read_seed(tmp_path / folder, f"i{i}").mask == 4 for folder in ("new", "seeds"))
        true = red_square(f"i{i}")[0] == 1
        assert float((old & true).sum() / true.sum()) == 0.75
        assert float((new & true).sum() / true.sum()) > 0.95
        assert float((new & ~true).sum() / true.sum()) < 0.25  # an edge as wide as half a place
    assert not read_seed(tmp_path / "new", "none").mask.any()
    with pytest.raises(FolderMismatchError, match="refit"):
        redo(tmp_path / "seeds", tmp_path / "new")
