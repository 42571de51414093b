"""Transformers are explained as they are: the layer, the grid, batches, classes, and where relevance goes."""

import pytest
import torch
from token_networks import NETWORKS, build
from torch import nn

from hedgeseg import attribute, resolve_layer
from hedgeseg.attribution import conservation
from hedgeseg.attribution.errors import LayerError, UnsupportedOpError

PROPAGATING = ("hedge", "lrp_epsilon", "lrp_alpha_beta", "deep_taylor", "rap", "rsp", "agf", "excitation_backprop")
ON_THE_GRID = ("grad_cam", "grad_cam_plus_plus", "relevance_cam", "full_grad")


def built(name, dtype=torch.float32):
    if "torchvision" not in name:
        pytest.importorskip("timm")
    return build(name, dtype)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_layer_is_found_and_maps_are_laid_out_on_its_grid(name):
    network, images = built(name)
    _, size, layer, grid = NETWORKS[name]
    found = resolve_layer(network, images)
    assert found == layer or (layer in ("", found.split(":")[0]) or found.startswith("aten."))
    coarse = attribute(network, images, [0, 1, 2], method="grad_cam", layer=found).maps[:, 0]
    assert coarse.shape == (3, *size)
    # A map of grid size, enlarged bilinearly, is known from one value per cell.
    cells = nn.functional.interpolate(coarse[:, None], grid, mode="area")
    assert float(cells.std()) > 0


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", ["hedge", "lrp_epsilon"])
def test_an_image_in_a_batch_is_as_alone_and_classes_differ(name, method):
    network, images = built(name, torch.float64)
    together = attribute(network, images, [[0, 3]] * 3, method=method).maps
    alone = attribute(network, images[1:2], [[0, 3]], method=method).maps
    assert together.isfinite().all()
    scale = float(alone.abs().max())
    assert scale > 0
    torch.testing.assert_close(together[1:2], alone, rtol=1e-5, atol=1e-7 * scale)
    first, second = together[:, 0].flatten(1), together[:, 1].flatten(1)
    assert float(nn.functional.cosine_similarity(first, second).max()) < 0.999


@pytest.mark.parametrize("name", ["torchvision ViT", "torchvision Swin", "ViT, registers"])
@pytest.mark.parametrize("method", [*PROPAGATING, *ON_THE_GRID])
def test_every_method_explains_tokens(name, method):
    network, images = built(name)
    maps = attribute(network, images, [[0, 3]] * 3, method=method).maps
    assert maps.shape == (3, 2, *images.shape[2:])
    assert maps.isfinite().all()
    assert (maps.abs().sum((2, 3)) > 0).all()


def test_score_cam_sees_images_through_tokens():
    network, images = built("torchvision ViT")
    maps = attribute(network, images[:1], [[0, 3]], method="score_cam").maps
    assert maps.isfinite().all()
    assert maps.min() >= 0
    assert maps.max() > 0


def test_class_tokens_and_registers_are_cut_away():
    """A network that adds up positions of a map it can't confuse: the class token holds a huge number."""

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 4, stride=4, bias=False)
            self.extra = nn.Parameter(torch.full((1, 3, 2), 1e6))

        def forward(self, x):
            y = self.conv(x).flatten(2).mT
            y = torch.cat([self.extra.expand(len(y), -1, -1), y], 1)
            return (y * 2)[:, 3:].mean(1)

    network = Tokens()
    nn.init.ones_(network.conv.weight)
    image = torch.zeros(1, 1, 8, 12)
    image[..., 4:8, 8:12] = 1.0
    result = attribute(network, image, [0], method="grad_cam")
    assert int(result.maps[0, 0].flatten().argmax()) in range(8 * 12)
    row, column = divmod(int(result.maps[0, 0].argmax()), 12)
    assert (row // 4, column // 4) == (1, 2)


def test_sequence_first_tokens():
    class First(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 5)
            self.attention, self.norm = nn.MultiheadAttention(8, 2), nn.LayerNorm(8)

        def forward(self, x):
            y = self.conv(x).flatten(2).permute(2, 0, 1)
            y = y + self.attention(self.norm(y), self.norm(y), self.norm(y))[0]
            return self.fc(y.mean(0))

    torch.manual_seed(0)
    network, images = First().eval().double(), torch.randn(3, 3, 8, 12, dtype=torch.float64)
    for method in ("hedge", "grad_cam", "lrp_epsilon"):
        together = attribute(network, images, [[0, 1]] * 3, method=method).maps
        alone = attribute(network, images[2:], [[0, 1]], method=method).maps
        torch.testing.assert_close(together[2:], alone, rtol=1e-6, atol=1e-9 * float(alone.abs().max()))


def test_tokens_in_an_order_of_their_own_are_refused():
    class Shuffled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 5)

        def forward(self, x):
            y = self.conv(x).flatten(2).mT
            return self.fc(y[:, torch.arange(5, -1, -1)].relu().mean(1))

    with pytest.raises(LayerError, match=r"tokens.*positions are not known.*layer="):
        attribute(Shuffled().eval(), torch.randn(1, 3, 8, 12), [0])


@pytest.mark.parametrize("name", ["torchvision ViT", "torchvision Swin"])
def test_what_conservation_reports_of_attention(name):
    network, images = built(name, torch.float64)
    steps = conservation(network, images, [0, 1, 2], method="lrp_epsilon")
    products = [s for s in steps if s.op == "aten.bmm"]
    assert len(products) == (2 if "ViT" in name else 4)
    for step in products:
        # The epsilon rule without a bias gives on what arrives.
        torch.testing.assert_close(step.left, step.arrived, rtol=1e-3, atol=1e-6 * float(step.arrived.abs().max() + 1))
    sums = [s for s in conservation(network, images, [0, 1, 2], method="hedge") if s.op == "aten.add"]
    for step in sums:
        torch.testing.assert_close(step.left, step.arrived, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", ["attention_rollout", "gradient_rollout"])
@pytest.mark.parametrize("name", ["torchvision ViT", "ViT, averaged", "ViT, registers", "DeiT, distilled", "CaiT"])
def test_rollouts(name, method):
    network, images = built(name, torch.float64)
    together = attribute(network, images, [[0, 3]] * 3, method=method).maps
    alone = attribute(network, images[1:2], [[0, 3]], method=method).maps
    torch.testing.assert_close(together[1:2], alone, rtol=1e-5, atol=1e-8)
    assert together.min() >= 0
    assert together.max() > 0
    same = torch.allclose(together[:, 0], together[:, 1])
    assert same == (method == "attention_rollout")


def test_rollout_by_hand():
    """One head, two layers, the class token read: products of (A + I) / 2 and of I + (A dA)+."""
    network, images = built("torchvision ViT", torch.float64)
    matrices, outputs = [], []
    y = network._process_input(images[:1])
    y = torch.cat([network.class_token, y], 1) + network.encoder.pos_embedding
    for block in network.encoder.layers:
        attention, normed = block.self_attention, block.ln_1(y)
        q, k, v = (
            part.unflatten(-1, (2, 8)).transpose(1, 2)
            for part in nn.functional.linear(normed, attention.in_proj_weight, attention.in_proj_bias).chunk(3, -1)
        )
        a = (q @ k.mT / 8**0.5).softmax(-1)
        matrices.append(a)
        y = y + attention.out_proj((a @ v).transpose(1, 2).flatten(2))
        y = y + block.mlp(block.ln_2(y))
        outputs.append(y)
    logit = network.heads(network.encoder.ln(y)[:, 0])[0, 3]
    slopes = torch.autograd.grad(logit, matrices)
    eye = torch.eye(17, dtype=torch.float64)
    plain = ((matrices[1][0].mean(0) + eye) / 2) @ ((matrices[0][0].mean(0) + eye) / 2)
    weighted = [eye + (a * g)[0].clamp(min=0).mean(0) for a, g in zip(matrices, slopes, strict=True)]
    for method, expected in (("attention_rollout", plain), ("gradient_rollout", weighted[1] @ weighted[0])):
        grid = expected[0, 1:].detach().view(1, 1, 4, 4)
        by_hand = nn.functional.interpolate(grid, (32, 32), mode="bilinear")[0]
        got = attribute(network, images[:1], [3], method=method).maps[0]
        torch.testing.assert_close(got, by_hand, rtol=1e-6, atol=1e-10)


def test_rollouts_say_where_they_are_not_defined():
    network, images = built("torchvision Swin")
    with pytest.raises(UnsupportedOpError, match=r"features\.1\.0\.attn.*16 x 16.*windows"):
        attribute(network, images, [0, 1, 2], method="attention_rollout")
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(UnsupportedOpError, match=r"no attention.*grad_cam"):
        attribute(plain, images, [0, 1, 2], method="gradient_rollout")
