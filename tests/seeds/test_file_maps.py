"""Maps of other tools, in the place of a method."""

import numpy as np
import pytest
import torch
from torch import nn

from hedgeseg.seeds import FileMaps, SeedGenerator, write_seed
from hedgeseg.seeds.formats import write_clip_es, write_irn, write_psa, write_psa_crf
from hedgeseg.seeds.seed import Seed

CLASSES = [3, 14]


@pytest.fixture
def seed():
    scores = torch.rand(2, 20, 24, generator=torch.Generator().manual_seed(0)) / 2
    return Seed(scores, torch.tensor(CLASSES), torch.zeros(20, 24, dtype=torch.uint8))


class Untouched(nn.Module):
    """A network that must not be asked."""

    def forward(self, images):
        raise AssertionError("maps of files need no network")


@pytest.mark.parametrize(
    ("write", "first", "tolerance"),
    [(write_irn, 0, 0), (write_clip_es, 0, 1e-3), (write_psa, 0, 0), (write_psa_crf, 1, 0)],
)
def test_layouts_of_the_field(tmp_path, seed, write, first, tolerance):
    write(tmp_path, "sub/a", seed)
    found = FileMaps(tmp_path, allow_pickle=True, first=first).read("sub/a", [14, 3])
    torch.testing.assert_close(found, seed.scores.flip(0), rtol=0, atol=tolerance)
    with pytest.raises(ValueError, match=r"a\.npy is a Python pickle.*allow_pickle: true"):
        FileMaps(tmp_path).read("sub/a", CLASSES)


def test_layouts_without_a_pickle(tmp_path, seed):
    scores = seed.scores.numpy()
    write_seed(tmp_path, "own", seed)
    np.savez(tmp_path / "maps.npz", maps=scores, keys=np.array(CLASSES))
    np.savez(tmp_path / "named.npz", **{"3": scores[0], "14": scores[1]})
    every = np.zeros((20, 20, 24), np.float32)
    every[CLASSES] = scores
    np.save(tmp_path / "every.npy", every)
    for name in ("own", "maps", "named", "every"):
        assert torch.equal(FileMaps(tmp_path).read(name, CLASSES), seed.scores)
    np.save(tmp_path / "one.npy", scores[0])
    assert torch.equal(FileMaps(tmp_path).read("one", [7]), seed.scores[:1])


def test_a_seed_of_them_is_their_normalised_positive_part(tmp_path):
    maps = torch.tensor([[[-1.0, 2.0], [4.0, 0.0]]])
    np.savez(tmp_path / "a.npz", scores=maps.numpy(), classes=np.array([5]))
    generator = SeedGenerator(method=f"files:{tmp_path}", background=0.4, flip=True)
    seed = generator(Untouched(), torch.zeros(3, 2, 2), [5], name="a")
    assert torch.equal(seed.scores, maps.clamp(min=0) / 4)
    assert seed.mask.tolist() == [[0, 6], [6, 0]]
    assert f"{tmp_path}" in str(generator.config()["method"])


def test_they_can_be_fused_with_a_method(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(6, dtype=np.float32)[None].repeat(2, 0))

    def everywhere(model, images, targets):
        return torch.ones(len(images), len(targets[0]), *images.shape[-2:])

    generator = SeedGenerator(method=[everywhere, f"files:{tmp_path}"], fuse="product", smoothing=0.0)
    scores = generator.scores(nn.Identity(), torch.zeros(3, 6, 6), [1], name="a")
    assert torch.equal(scores, torch.eye(6)[None])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((3, 2)), r"array \(3, 2\); expected \(classes, h, w\)"),
        (np.zeros((2, 3, 2)), r"maps of the classes \[0, 1\], the image is of \[3, 14\]"),
        (np.full((20, 3, 2), np.nan), "NaN"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, content, message):
    np.save(tmp_path / "a.npy", content)
    with pytest.raises(ValueError, match=message):
        FileMaps(tmp_path).read("a", CLASSES)


def test_what_is_missing_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", heat=np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"keys \['heat'\]; expected one of scores"):
        FileMaps(tmp_path).read("a", [0])
    with pytest.raises(FileNotFoundError, match=r"neither b\.npz nor b\.npy"):
        FileMaps(tmp_path).read("b", [0])
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        SeedGenerator(method="files:nowhere")
    with pytest.raises(ValueError, match="ids of images, and these have none"):
        SeedGenerator(method=f"files:{tmp_path}")(nn.Identity(), torch.zeros(3, 4, 4), [0])
