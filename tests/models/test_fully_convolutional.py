import pytest
import torch
from torch import nn

from hedgeseg.attribution import attribute, resolve_layer
from hedgeseg.models import Classifier, FullyConvolutional, GroupedLogits, build_network


class VGG(nn.Module):
    """A miniature with torchvision's structure: a map of 4 x 4 at 32 pixels."""

    def __init__(self, outputs=5):
        super().__init__()
        torch.manual_seed(0)
        layers = []
        for a, b in ((3, 8), (8, 12), (12, 16)):
            layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((4, 4))
        self.classifier = nn.Sequential(
            nn.Linear(16 * 16, 20),
            nn.ReLU(True),
            nn.Dropout(),
            nn.Linear(20, 20),
            nn.ReLU(True),
            nn.Linear(20, outputs),
        )

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


@pytest.fixture
def vgg():
    return VGG().eval()


@pytest.mark.parametrize("pool", ["mean", "sum", "logsumexp"])
def test_equals_the_network_at_the_size_it_was_made_for(vgg, pool):
    images = torch.randn(2, 3, 32, 32)
    assert torch.allclose(FullyConvolutional(vgg, pool)(images), vgg(images), atol=1e-6)


def test_a_position_is_the_network_on_its_window(vgg):
    # without padding a position sees exactly a window of the feature map
    images = torch.randn(1, 3, 48, 56)
    wide = FullyConvolutional(vgg)
    scores = wide.positions(images)
    assert scores.shape == (1, 5, 3, 4)
    maps = vgg.features(images)
    for row in range(3):
        for column in range(4):
            window = maps[:, :, row : row + 4, column : column + 4]
            assert torch.allclose(scores[:, :, row, column], vgg.classifier(window.flatten(1)), atol=1e-6)


def test_pooling(vgg):
    images = torch.randn(2, 3, 48, 56)
    scores = FullyConvolutional(vgg).positions(images).flatten(2)
    assert torch.allclose(FullyConvolutional(vgg, "mean")(images), scores.mean(2))
    assert torch.allclose(FullyConvolutional(vgg, "sum")(images), scores.sum(2))
    assert torch.allclose(FullyConvolutional(vgg, "logsumexp")(images), scores.logsumexp(2))


def test_images_too_small_for_a_position(vgg):
    with pytest.raises(ValueError, match=r"feature map of 4 x 3, the classifier needs 4 x 4"):
        FullyConvolutional(vgg)(torch.randn(1, 3, 32, 31))


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v2", "squeezenet1_0"])
def test_networks_with_global_pooling_are_refused(arch):
    with torch.device("meta"):
        network = build_network(arch, 3)
    with pytest.raises(ValueError, match="take images of any size as they are"):
        FullyConvolutional(network)


def test_unknown_pooling(vgg):
    with pytest.raises(ValueError, match="pool must be one of"):
        FullyConvolutional(vgg, "max")


def test_weights_keep_names_and_shapes(vgg):
    state = {name.removeprefix("network."): value for name, value in FullyConvolutional(vgg).state_dict().items()}
    assert {name: value.shape for name, value in state.items()} == {n: v.shape for n, v in vgg.state_dict().items()}


def test_gradients_reach_every_layer(vgg):
    FullyConvolutional(vgg)(torch.randn(1, 3, 40, 48)).sum().backward()
    assert all(parameter.grad is not None for parameter in vgg.parameters())


@pytest.mark.parametrize("method", ["hedge", "grad_cam", "excitation_backprop"])
def test_maps_equal_the_networks_at_its_size_and_exist_at_others(vgg, method):
    images, targets = torch.randn(2, 3, 32, 32), torch.tensor([[1, 3], [0, 2]])
    wide = FullyConvolutional(vgg, "logsumexp")
    assert resolve_layer(wide, images) == f"network.{resolve_layer(vgg, images)}" == "network.features.7"
    plain, slid = (attribute(m, images, targets, method=method) for m in (vgg, wide))
    assert torch.allclose(plain.logits, slid.logits, atol=1e-5)
    assert torch.allclose(plain.maps, slid.maps, atol=1e-5 * float(plain.maps.abs().max()))
    large = torch.randn(1, 3, 40, 56)
    maps = attribute(wide, large, torch.tensor([[0, 4]]), method=method).maps
    assert maps.shape == (1, 2, 40, 56)
    assert torch.isfinite(maps).all()
    assert maps.abs().sum() > 0


def test_an_image_does_not_depend_on_its_batch(vgg):
    wide, images = FullyConvolutional(vgg), torch.randn(3, 3, 40, 48)
    assert torch.allclose(wide(images)[1:2], wide(images[1:2]), atol=1e-6)


def test_classifier_option(tmp_path):
    with torch.device("meta"):
        model = Classifier(20, arch="vgg11", fully_convolutional="sum")
        assert isinstance(model.network, FullyConvolutional)
        assert model(torch.empty(1, 3, 256, 320, device="meta")).shape == (1, 20)
        alex = Classifier(4, arch="alexnet", fully_convolutional="mean")
        assert alex.network.positions(torch.empty(1, 3, 300, 224, device="meta")).shape == (1, 4, 3, 1)
        (tmp_path / "groups.json").write_text('{"cat": [281], "dog": [151]}')
        grouped = Classifier(
            2, "vgg11", groups=str(tmp_path / "groups.json"), classes=["cat", "dog"], fully_convolutional="mean"
        )
    assert isinstance(grouped.network, GroupedLogits)
    assert isinstance(grouped.network.network, FullyConvolutional)
    with pytest.raises(ValueError, match="leave fully_convolutional out"):
        Classifier(3, arch="small_cnn", fully_convolutional="mean")


def test_torchvisions_vgg_at_224():
    network = build_network("vgg11", 3).eval()
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.allclose(FullyConvolutional(network)(images), network(images), atol=1e-4)
