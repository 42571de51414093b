import pytest
import torch
from torch import nn

from hedgeseg.seeds import SeedGenerator
from hedgeseg.seeds.tiles import TiledMaps, windows


class Brightness:
    """Explains a pixel by its own value, and gives a tile the logit of its brightest pixel."""

    def __init__(self):
        self.largest = 0

    def explain(self, model, images, targets):
        self.largest = max(self.largest, *images.shape[-2:])
        maps = images.mean(1, keepdim=True).expand(-1, len(targets[0]), -1, -1)
        return maps, images.amax((1, 2, 3))[:, None].expand(-1, 10)


@pytest.mark.parametrize("size", [(100, 130), (64, 65), (64, 64), (10, 300)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_windows_cover_the_image_and_overlap(size, overlap):
    seen = torch.zeros(size)
    for rows, columns in windows(size, 64, overlap):
        assert rows.stop - rows.start == min(64, size[0])
        assert columns.stop - columns.start == min(64, size[1])
        seen[rows, columns] += 1
    assert int(seen.min()) >= 1


def test_a_map_that_needs_no_context_is_the_same_in_tiles():
    image = torch.rand(1, 3, 90, 120)
    image[..., ::8, ::8] = 1.0  # every tile's logit is the same
    whole = image.mean(1, keepdim=True)
    tiled = TiledMaps(Brightness(), tile=48)(nn.Identity(), image, [[2]])
    assert torch.allclose(tiled, whole, atol=1e-5)


def test_a_tile_without_the_class_is_turned_down_whatever_the_order():
    image = torch.full((1, 3, 48, 96), 0.5)
    image[..., 20:28, 60:90] = 8.0
    for picture in (image, image.flip(-1)):
        tiled = TiledMaps(Brightness(), tile=48, overlap=0.0)(nn.Identity(), picture, [[2]])
        dull = tiled[0, 0, 5, 5] if picture is image else tiled[0, 0, 5, -5]
        assert float(dull) < 0.5 * 0.01
        assert float(tiled.max()) == pytest.approx(8.0, rel=1e-4)


def test_memory_follows_the_tile():
    source = Brightness()
    generator = SeedGenerator(method=TiledMaps(source, tile=32))
    seed = generator(nn.Identity(), torch.rand(3, 200, 150), [1, 2])
    assert seed.size == (200, 150)
    assert source.largest == 32


def test_settings_are_checked():
    with pytest.raises(ValueError, match="overlap"):
        TiledMaps(Brightness(), overlap=1.0)
    with pytest.raises(ValueError, match="tile"):
        TiledMaps(Brightness(), tile=0)


def test_a_generator_looks_through_tiles():
    """A square that is smaller than a pixel of a whole view of 24: tiles of 24 see it."""
    seen = []

    class Bright:
        def explain(self, model, images, targets):
            seen.append(tuple(images.shape[2:]))
            bright = (images.mean(1, keepdim=True) > 0.5).float()
            return bright.expand(-1, len(targets[0]), -1, -1), torch.zeros(len(images), 4)

        def __call__(self, model, images, targets):
            return self.explain(model, images, targets)[0]

    image = torch.zeros(3, 50, 70)
    image[:, 31, 44] = 1
    seed = SeedGenerator(Bright(), tile=24, smoothing=0, background=0.5)(nn.Identity(), image, [1])
    assert set(seen) == {(24, 24)}
    assert seed.mask.nonzero().tolist() == [[31, 44]]
    with pytest.raises(TypeError, match="does not tell"):
        SeedGenerator(lambda model, images, targets: images, tile=24)
