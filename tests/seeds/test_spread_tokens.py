"""Seeds and `spread` of networks of tokens."""

import pytest
import torch
from token_networks import build

from hedgeseg.seeds import SeedGenerator
from hedgeseg.seeds.module_maps import layouts
from hedgeseg.seeds.spread import stride_maps


@pytest.mark.parametrize(
    ("name", "stride", "grid"),
    [
        ("torchvision ViT", 8, (4, 4)),
        ("ViT", 8, (4, 6)),
        ("ViT, registers", 8, (4, 6)),
        ("torchvision Swin", 4, (8, 12)),
    ],
)
def test_places_of_tokens_are_compared_by_the_last_of_them(name, stride, grid):
    network, images = build(name)
    [found] = stride_maps(network, images[:1], (stride,))
    assert found.shape[-2:] == grid
    seen = {}
    for path, module in network.named_modules():
        module.register_forward_hook(lambda m, i, o, path=path: seen.__setitem__(path, o))
    network(images[:1])
    embedded = next(o for o in seen.values() if isinstance(o, torch.Tensor) and o.ndim == 4)
    assert found.shape != embedded.shape or not torch.allclose(found, embedded)  # not what is seen before attention


def test_tokens_are_laid_out_behind_class_and_registers():
    tokens = torch.arange(5 + 12.0)[None, :, None].expand(1, -1, 7)
    told = layouts(tokens.shape, torch.Size((1, 3, 48, 64)))
    found = [layout.of(tokens) for layout in told if layout.size == (3, 4)]
    assert torch.equal(found[0][0, 0], torch.arange(5, 17.0).view(3, 4))


@pytest.mark.parametrize("name", ["torchvision ViT", "ViT, registers"])
@pytest.mark.parametrize("options", [{}, {"spread": True}, {"flip": True, "scales": (1.0,), "background": "auto"}])
def test_seeds_need_nothing_else(name, options):
    network, images = build(name)
    seed = SeedGenerator(**options)(network, images[0], [1, 3])
    assert seed.scores.shape == (2, *images.shape[-2:])
    assert seed.scores.isfinite().all()
    assert 0 <= float(seed.scores.min()) <= float(seed.scores.max()) <= 1
    assert set(seed.mask.unique().tolist()) <= {0, 2, 4, 255}
    assert seed.scores.flatten(1).std(1).min() > 0
