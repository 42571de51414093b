import pytest
import torch

from hedgeseg.seeds import SeedGenerator
from hedgeseg.seeds.fusion import fuse, normalise, within_extent


def test_with_one_class_the_extent_decides():
    """Half of the evidence's peak is enough to keep 84 % of the extent's score."""
    extent, evidence = torch.ones(1, 2, 4), torch.tensor([1.0, 0.5, 0.5, 0.0]).expand(1, 2, 4)
    found = within_extent(evidence, extent)
    torch.testing.assert_close(found[0, 0], torch.tensor([1.0, 0.5**0.25, 0.5**0.25, 0.0]))


def test_with_several_the_evidence_says_whose_it_is():
    """An extent that is the same for both classes covers both objects; each class keeps its own."""
    extent = torch.tensor([[[0.9, 1.0, 0.1, 1.0]]]).expand(2, 1, 4)
    evidence = torch.tensor([[[1.0, 0.9, 0.1, 0.1]], [[0.1, 0.2, 0.1, 1.0]]])
    found = within_extent(evidence, extent)
    assert found.argmax(0).flatten().tolist()[:2] == [0, 0]
    assert found.argmax(0)[0, 3] == 1
    assert (found[0, 0, :2] > 0.75).all()
    assert found[0, 0, 3] < 0.1
    assert found[1, 0, :2].max() < 0.2
    assert torch.equal(found.amax((1, 2)), torch.ones(2))


def test_each_class_is_what_it_is_whatever_its_place():
    evidence, extent = torch.rand(3, 5, 6), torch.rand(3, 5, 6)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(within_extent(evidence, extent)[order], within_extent(evidence[order], extent[order]))


@pytest.mark.parametrize("classes", [0, 1, 3])
def test_maps_without_evidence_or_extent_are_zero_not_nan(classes):
    zero, some = torch.zeros(classes, 4, 4), normalise(torch.rand(classes, 4, 4))
    assert torch.equal(within_extent(zero, some), zero)
    assert torch.equal(within_extent(some, zero), zero)


def test_extent_takes_two_methods():
    with pytest.raises(ValueError, match="two methods"):
        fuse([torch.rand(1, 2, 2)] * 3, "extent")
    with pytest.raises(ValueError, match="two methods"):
        SeedGenerator(method="hedge", fuse="extent")
    with pytest.raises(ValueError, match="extent"):
        SeedGenerator(fuse="union")


def test_evidence_and_extent_are_spread_each_on_its_own():
    """Two places alike: evidence at one, extent at the other; spread after fusing, nothing would be left of either."""

    class Halves(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.eighth, self.sixteenth = torch.nn.AvgPool2d(8), torch.nn.AvgPool2d(2)

        def forward(self, images):
            return self.sixteenth(self.eighth(images)).mean((2, 3))

    def spot(row):
        def maps(model, images, targets):
            found = torch.zeros(len(images), len(targets[0]), 64, 64)
            found[:, :, row : row + 8, 8:16] = 1
            return found

        return maps

    image = torch.zeros(3, 64, 64)
    image[0, :, :32], image[1, :, 32:] = 1, 1
    generator = SeedGenerator([spot(0), spot(48)], fuse="extent", spread=True, smoothing=0, background=0.5)
    mask = generator(Halves(), image, [1]).mask
    assert (mask[:, :28] == 2).all()
    assert (mask[:, 36:] == 0).all()
