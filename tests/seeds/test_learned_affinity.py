"""The random walk against a dense twin, and a head that learns where objects end from seeds alone."""

import pytest
import torch
from torch import nn

from hedgeseg.seeds import SeedGenerator
from hedgeseg.seeds.learned_affinity import (
    AffinityHead,
    Learning,
    joined,
    learn_affinity,
    pair_loss,
    read_affinity,
    sure_labels,
)
from hedgeseg.seeds.seed import Seed
from hedgeseg.seeds.spread import stride_maps
from hedgeseg.seeds.walk import half_disc, walk


def dense_walk(embedding, beta, steps, radius):
    """The definition in float64: the whole matrix, and its power."""
    height, width = embedding.shape[1:]
    places = [(y, x) for y in range(height) for x in range(width)]
    flat = embedding.double().flatten(1).T
    matrix = torch.zeros(len(places), len(places), dtype=torch.float64)
    for i, (y, x) in enumerate(places):
        for j, (v, u) in enumerate(places):
            if (y - v) ** 2 + (x - u) ** 2 < radius**2:
                matrix[i, j] = torch.exp(-(flat[i] - flat[j]).abs().mean()) ** beta
    return torch.linalg.matrix_power(matrix / matrix.sum(1, keepdim=True), steps)


def test_it_equals_the_power_of_the_dense_matrix():
    generator = torch.Generator().manual_seed(0)
    embedding, scores = torch.randn(4, 6, 9, generator=generator), torch.rand(2, 6, 9, generator=generator)
    for radius, beta, steps in ((3, 4.0, 5), (5, 8.0, 32)):
        wanted = dense_walk(embedding, beta, steps, radius) @ scores.double().flatten(1).T
        found = walk(embedding.double(), beta, steps, radius).walked(scores.double())
        torch.testing.assert_close(found.flatten(1).T, wanted, rtol=1e-9, atol=1e-12)
        single = walk(embedding, beta, steps, radius).walked(scores)
        torch.testing.assert_close(single, found.float(), rtol=1e-4, atol=1e-5)
    assert len(half_disc(5)) == 34  # as IRN has it


def test_a_constant_stays_and_a_wall_stops_the_walk():
    embedding = torch.zeros(1, 8, 8)
    embedding[:, :, 4:] = 50.0
    found = walk(embedding, beta=1.0, steps=400)
    assert torch.allclose(found.walked(torch.full((1, 8, 8), 0.3)), torch.full((1, 8, 8), 0.3), atol=1e-5)
    spike = torch.zeros(1, 8, 8)
    spike[0, 4, 1] = 1
    spread = found.spread(spike)[0]
    assert float(spread[:, 4:].max()) < 1e-6
    assert float(spread[:, :4].min()) > 0.3


def test_memory_at_the_size_of_a_photograph():
    """A grid of stride 4 of 375 x 500 pixels: the dense matrix would hold 552 MB, the weights of the walk hold 3."""
    found = walk(torch.randn(8, 94, 125), beta=8.0, steps=1)
    assert found.weights.numel() * 4 < 4e6


class Strided(nn.Module):
    """Features at a stride of 8: mean colours."""

    def __init__(self):
        super().__init__()
        self.stage = nn.AvgPool2d(8)
        self.head = nn.Linear(3, 2)

    def forward(self, images):
        return self.head(self.stage(images).mean((2, 3)))


def scene(index):
    """A bright square on a dark ground with texture, and a seed that found only its middle."""
    generator = torch.Generator().manual_seed(index)
    image = 0.2 * torch.randn(3, 128, 128, generator=generator)
    top, left = (8 * int(torch.randint(2, 6, (), generator=generator)) for _ in range(2))
    truth = torch.zeros(128, 128, dtype=torch.bool)
    truth[top : top + 64, left : left + 64] = True
    image[:, truth] += 1
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    score = torch.exp(-((rows - top - 32) ** 2 + (columns - left - 32) ** 2) / (2 * 24**2))
    mask = (score > 0.6).to(torch.uint8)
    return image, Seed(score[None], torch.tensor([0]), mask, (score - 0.6).abs().clamp(max=1)), truth


def iou(mask, truth):
    return float((mask & truth).sum() / (mask | truth).sum())


def test_it_learns_from_seeds_where_objects_end(tmp_path):
    model = Strided()
    names = [str(i) for i in range(12)]
    head = learn_affinity(
        model, names, lambda n: scene(int(n))[0], lambda n: scene(int(n))[1], Learning(epochs=6, steps=64)
    )
    head.save(tmp_path / "a.pt")
    again = read_affinity(tmp_path / "a.pt")
    before, after = [], []
    for index in range(20, 26):
        image, seed, truth = scene(index)
        walked = again.walk(stride_maps(model, image[None])).spread(
            nn.functional.adaptive_avg_pool2d(seed.scores, (16, 16))
        )
        grown = nn.functional.interpolate(walked[None], size=(128, 128), mode="nearest")[0, 0]
        before.append(max(iou(seed.scores[0] > level, truth) for level in torch.arange(0.05, 1, 0.05)))
        after.append(max(iou(grown > level, truth) for level in torch.arange(0.05, 1, 0.05)))
    assert sum(after) / 6 > 0.95 > sum(before) / 6

    def blob(network, images, targets):
        network(images)
        return scene(20)[1].scores[None]

    generator = SeedGenerator(method=blob, smoothing=0.0, spread={"affinity": str(tmp_path / "a.pt")}, background=0.5)
    image, _, truth = scene(20)
    assert iou(generator(model, image, [0]).mask == 1, truth) > 0.9
    assert len(generator.config()["spread"]["affinity"]) == 64


def test_only_the_surest_places_have_a_label():
    _, seed, _ = scene(0)
    found = sure_labels(seed, (16, 16))
    counts = {label: int((found == label).sum()) for label in (0, 1, 255)}
    assert counts[0] > 0
    assert counts[1] > 0
    assert 100 < counts[255] < 156  # half of 256 places
    assert set(sure_labels(Seed(seed.scores, seed.classes, seed.mask), (16, 16)).unique().tolist()) == {0, 1}


def test_the_loss_falls_where_labels_part():
    labels = torch.zeros(8, 8, dtype=torch.int64)
    labels[:, 4:] = 1
    right = labels[None].float() * 20
    assert pair_loss(right, labels) < 0.01 < pair_loss(torch.zeros(1, 8, 8), labels)
    assert float(pair_loss(torch.randn(1, 8, 8), torch.full((8, 8), 255))) == 0


def test_what_is_wrong_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="hedgeseg affinity makes it"):
        SeedGenerator(spread={"affinity": "nowhere.pt"})
    torch.save({"a": 1}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="holds no affinity"):
        read_affinity(tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"spread is true, false or"):
        SeedGenerator(spread={"power": "2"})
    with pytest.raises(ValueError, match="learnt on 5 channels of features, the network has 3"):
        AffinityHead(5).walk(stride_maps(Strided(), torch.randn(1, 3, 64, 64)))
    assert joined(stride_maps(Strided(), torch.randn(1, 3, 64, 64))).shape == (3, 8, 8)
    with pytest.raises(ValueError, match="nothing to learn"):
        learn_affinity(Strided(), [], lambda n: None, lambda n: None)
