"""Regions without a class, voted on by the scores."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle

from hedgeseg.seeds import SeedGenerator
from hedgeseg.seeds.refine import as_refiner, refiner_of
from hedgeseg.seeds.refine.regions import read_regions, vote

SIZE = (12, 16)


@pytest.fixture
def regions():
    large, small, apart = (np.zeros(SIZE, bool) for _ in range(3))
    large[2:10, 2:10] = small[3:6, 3:6] = apart[4:8, 11:15] = True
    return [small, large, apart]


def encoded(region):
    found = rle.encode(np.asfortranarray(region.astype(np.uint8)))
    return {"size": list(SIZE), "counts": found["counts"].decode()}


def write(folder, regions):
    """The same regions in every layout; label images hold no overlap."""
    lengths = [encoded(region) for region in regions]
    (folder / "list.json").write_text(json.dumps(lengths))
    annotations = [{"segmentation": one, "area": 1, "predicted_iou": 0.9} for one in lengths]
    (folder / "sam.json").write_text(json.dumps({"annotations": annotations}))
    box = [[2, 2, 10, 2, 10, 10, 2, 10]]
    (folder / "polygons.json").write_text(json.dumps({"height": 12, "width": 16, "masks": [{"segmentation": box}]}))
    np.savez(folder / "arrays.npz", masks=np.stack(regions))
    labels = np.zeros(SIZE, np.uint16)
    labels[regions[1]], labels[regions[2]] = 7, 700
    Image.fromarray(labels).save(folder / "labels.png")


def test_every_layout_gives_the_regions(tmp_path, regions):
    write(tmp_path, regions)
    for name in ("list", "sam", "arrays"):
        assert [r.tolist() for r in read_regions(tmp_path, name, SIZE)] == [r.tolist() for r in regions]
    assert [r.tolist() for r in read_regions(tmp_path, "labels", SIZE)] == [r.tolist() for r in regions[1:]]
    (polygon,) = read_regions(tmp_path, "polygons", SIZE)
    assert np.array_equal(polygon, regions[1])
    (half, _) = read_regions(tmp_path, "labels", (6, 8))
    assert np.array_equal(half, regions[1][1::2, 1::2])


def test_a_region_takes_its_mean_and_smaller_ones_lie_on_top(regions):
    values = torch.rand(2, *SIZE, generator=torch.Generator().manual_seed(1))
    voted = vote(values, regions)
    small, large, apart = (torch.from_numpy(r) for r in regions)
    expected = values.clone().double()
    for label in range(2):
        expected[label][large] = values[label][large].double().mean()
        expected[label][small] = values[label][small].double().mean()
        expected[label][apart] = values[label][apart].double().mean()
    torch.testing.assert_close(voted.double(), expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(vote(values, [np.zeros(SIZE, bool)]), values)


def test_a_blurred_seed_becomes_its_region(tmp_path, regions):
    write(tmp_path, regions)

    def blob(model, images, targets):
        rows, columns = torch.meshgrid(torch.arange(12), torch.arange(16), indexing="ij")
        return torch.exp(-((rows - 5.0) ** 2 + (columns - 5.0) ** 2) / 18)[None, None]

    generator = SeedGenerator(method=blob, background=0.42, smoothing=0, refine={"regions": str(tmp_path)})
    picture = np.zeros((*SIZE, 3), np.uint8)
    seed = generator(torch.nn.Identity(), torch.zeros(3, *SIZE), [0], picture=picture, name="labels")
    assert np.array_equal(seed.mask.numpy() == 1, regions[1])
    assert generator.config()["refine"] == {"regions": str(tmp_path)}


def test_what_does_not_fit_is_named(tmp_path, regions):
    write(tmp_path, regions)
    values, picture = torch.rand(2, *SIZE), torch.zeros(*SIZE, 3, dtype=torch.uint8)
    chain = as_refiner([{"regions": str(tmp_path)}])
    with pytest.raises(ValueError, match="ids of images, and this one has none"):
        chain(picture, values)
    with pytest.raises(FileNotFoundError, match="no regions of 'b'"):
        refiner_of(chain, "b")(picture, values)
    with pytest.raises(ValueError, match=r"regions of \(12, 16\) pixels, the picture has \(20, 16\)"):
        read_regions(tmp_path, "arrays", (20, 16))
    (tmp_path / "odd.json").write_text('[{"bbox": [1, 2, 3, 4]}]')
    with pytest.raises(ValueError, match="region 0 is neither run lengths nor polygons"):
        read_regions(tmp_path, "odd", SIZE)
    with pytest.raises(ValueError, match=r"give their folder"):
        as_refiner("regions")
    with pytest.raises(TypeError, match="takes the folder"):
        as_refiner({"regions": {"folder": "x"}})
    with pytest.raises(FileNotFoundError, match="no such folder"):
        as_refiner({"regions": "nowhere"})
