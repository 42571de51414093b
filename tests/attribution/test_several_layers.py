"""Several feature maps that reach the logits are explained together."""

import pytest
import torch
import torchvision
from torch import nn

from hedgeseg import attribute, resolve_layer
from hedgeseg.attribution.errors import LayerError

FROM_LAYERS = ("hedge", "rsp", "grad_cam", "grad_cam_plus_plus", "relevance_cam", "excitation_backprop", "score_cam")


def stage(inputs, outputs, stride=1):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.ReLU())


class Fused(nn.Module):
    """Two maps of one size, pooled apart or put together before: the same function."""

    def __init__(self, nested, late):
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b = stage(3, 5), stage(5 if nested else 3, 4)
        self.nested, self.late, self.fc = nested, late, nn.Linear(9, 6)

    def forward(self, x):
        a = self.a(x)
        b = self.b(a if self.nested else x)
        if self.late:
            return self.fc(torch.cat([a.mean((2, 3)), nn.functional.adaptive_avg_pool2d(b, 1).flatten(1)], 1))
        return self.fc(torch.cat([a, b], 1).mean((2, 3)))


@pytest.fixture
def images():
    return torch.randn(2, 3, 12, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def explained(net, images, method="hedge", **options):
    return attribute(net.double().eval(), images, [[0, 1], [5, 2]], method=method, **options)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("method", [*FROM_LAYERS, "rap", "agf", "full_grad"])
def test_maps_pooled_apart_are_explained_as_the_map_that_they_are_the_channels_of(nested, method, images):
    late, early = (explained(Fused(nested, late), images, method) for late in (True, False))
    torch.testing.assert_close(late.maps, early.maps)
    if method in FROM_LAYERS:
        assert late.layer == "a + b"


@pytest.mark.parametrize("options", [{"gamma": 2.0}, {"variant": "official"}, {"chunk": 1}])
def test_with_options_of_hedging(options, images):
    late, early = (explained(Fused(True, late), images, **options) for late in (True, False))
    torch.testing.assert_close(late.maps, early.maps)


def test_rsp_holds_labels_against_each_other_over_all_layers(images):
    net = Fused(nested=True, late=True)
    together = explained(net, images, "rsp", multi_label=True)
    for i, targets in enumerate([[0, 1], [5, 2]]):
        alone = attribute(net, images[i : i + 1], [targets], method="rsp", multi_label=True)
        torch.testing.assert_close(together.maps[i], alone.maps[0])


def test_a_branch_is_explained_also_where_the_other_does_not_count(images):
    net = Fused(nested=False, late=True)
    net.fc.weight.data[:, 5:] = 0  # nothing of the branch that was pooled last
    maps = explained(net, images).maps
    assert maps.abs().flatten(1).sum(1).gt(0).all()
    torch.testing.assert_close(maps, explained(net, images, layer="a").maps)


@pytest.mark.parametrize("method", FROM_LAYERS)
def test_maps_of_several_sizes_do_not_depend_on_the_batch(method, images):
    class Scales(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(2)
            self.first, self.second, self.third = stage(3, 4), stage(4, 5, 2), stage(5, 6, 2)
            self.fc, self.side = nn.Linear(11, 6), nn.Linear(4, 6)

        def forward(self, x):
            first = self.first(x)
            second = self.second(first)
            third = self.third(second)
            vectors = torch.cat([third.mean((2, 3)), second.mean((2, 3))], 1)
            return self.fc(vectors) + 0.5 * self.side(first.mean((2, 3)))

    net = Scales()
    together = explained(net, images, method)
    assert together.layer == "first + second + third"
    for i in range(2):
        alone = attribute(net, images[i : i + 1], [[[0, 1], [5, 2]][i]], method=method)
        torch.testing.assert_close(together.maps[i], alone.maps[0])


def test_layers_are_named_in_a_list_or_in_one_string(images):
    net = Fused(nested=True, late=True).double()
    assert resolve_layer(net, images) == "a + b"
    found = explained(net, images)
    for layer in (["a", "b"], [net.a, net.b], "a + b", found.layer, ("a", "b", "a")):
        assert resolve_layer(net, images, layer) == "a + b"
        again = explained(net, images, layer=layer)
        assert again.layer == "a + b"
        torch.testing.assert_close(again.maps, found.maps)
    # The last alone has the gradients that pass it, and leaves out what goes past it.
    assert not torch.allclose(explained(net, images, layer="b").maps, found.maps)
    with pytest.raises(LayerError, match="names no layer"):
        resolve_layer(net, images, [])
    with pytest.raises(LayerError, match="'c'"):
        resolve_layer(net, images, ["a", "c"])


def test_runs_of_one_module_have_names_of_their_own(images):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.trunk, self.fc = stage(3, 4), nn.Linear(8, 6)

        def forward(self, x):
            return self.fc(torch.cat([self.trunk(x).mean((2, 3)), self.trunk(2 * x).mean((2, 3))], 1))

    net = Twice().double()
    assert resolve_layer(net, images) == "trunk#0 + trunk"
    found = explained(net, images)
    torch.testing.assert_close(explained(net, images, layer=["trunk#0", "trunk#1"]).maps, found.maps)
    with pytest.raises(LayerError, match="ran 2 times"):
        resolve_layer(net, images, "trunk#2")


def test_a_familys_layer_gives_way_where_other_maps_reach_the_logits():
    class Scales(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torchvision.models.resnet18(weights=None)
            self.fc = nn.Linear(256 + 512, 4)

        def forward(self, x):
            net = self.net
            x = net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x))))))
            third = net.layer3(x)
            return self.fc(torch.cat([third.mean((2, 3)), net.layer4(third).mean((2, 3))], 1))

    images = torch.randn(1, 3, 64, 64)
    assert resolve_layer(Scales(), images) == "net.layer3 + net.layer4"
    assert resolve_layer(torchvision.models.resnet18(weights=None), images) == "layer4"


def test_what_only_gates_a_vector_is_no_layer(images):
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.fc = stage(3, 4), stage(3, 4), nn.Linear(4, 6)

        def forward(self, x):
            return self.fc(self.a(x).mean((2, 3)) * torch.sigmoid(self.b(x).mean((2, 3))))

    assert resolve_layer(Gated().double(), images) == "a"


def test_pieces_of_one_map_are_that_map(images):
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.heads = stage(3, 4), nn.ModuleList([nn.Linear(4, 6) for _ in range(3)])

        def forward(self, x):
            return sum(h(p.mean((2, 3))) for h, p in zip(self.heads, self.a(x).chunk(3, 2), strict=True))

    net = Parts().double()
    assert resolve_layer(net, images) == "a"
    for method in ("hedge", "grad_cam", "rap", "agf"):
        assert explained(net, images, method).maps.abs().sum() > 0


@pytest.mark.parametrize("method", ["rap", "agf", "contrastive_excitation_backprop"])
def test_heads_whose_logits_add_up_all_count(method, images):
    class Heads(nn.Module):
        """One head on the features of both branches, or one on each."""

        def __init__(self, apart):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b, self.fc, self.apart = stage(3, 4), stage(3, 4), nn.Linear(8, 6, bias=False), apart

        def forward(self, x):
            a, b = self.a(x).mean((2, 3)), self.b(x).mean((2, 3))
            if self.apart:
                return a @ self.fc.weight[:, :4].T + b @ self.fc.weight[:, 4:].T
            return self.fc(torch.cat([a, b], 1))

    if method == "agf":
        apart, joint = (explained(Heads(apart), images, method).maps for apart in (True, False))
        torch.testing.assert_close(apart, joint)
        return
    net = Heads(apart=True)
    net.fc.weight.data[:, 4:] = 0
    first = explained(net, images, method).maps
    net.fc.weight.data[:, 4:] = net.fc.weight.data[:, :4]
    net.fc.weight.data[:, :4] = 0
    second = explained(net, images, method).maps
    assert first.abs().sum() > 0
    assert second.abs().sum() > 0


def test_the_second_name_of_a_shared_module(images):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(stage(3, 4), stage(4, 4))
            self.features = self.backbone
            self.fc = nn.Linear(4, 6)

        def forward(self, x):
            return self.fc(self.features(x).mean((2, 3)))

    net = Shared().double()
    expected = explained(net, images, layer="backbone.0").maps
    assert resolve_layer(net, images, "features.0") == "backbone.0"
    torch.testing.assert_close(explained(net, images, layer="features.0").maps, expected)
    torch.testing.assert_close(explained(net, images, layer=net.features[0]).maps, expected)
