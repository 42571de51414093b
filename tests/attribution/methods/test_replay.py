"""DeepLIFT on networks that captum alone cannot do: the map still sums to the difference of the logits."""

import pytest
import torch
import torchvision
from torch import Tensor, nn

from hedgeseg import attribute
from hedgeseg.attribution.errors import UnsupportedOpError


class Functional(nn.Module):
    """Calls instead of modules, a reused one, writes in place, a concatenation, a square, overlapping pools."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.relu, self.last = nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Linear(8, 5)
        self.norm.running_mean += 0.3

    def forward(self, images: Tensor) -> Tensor:
        x = self.relu(self.norm(self.first(images)))
        x = torch.nn.functional.max_pool2d(x, 3, 2, 1, ceil_mode=True)
        y = torch.nn.functional.silu(self.second(x))
        y = torch.nn.functional.hardswish(self.second(y), inplace=True)
        y += x
        z = torch.cat([self.relu(y - 0.1), (0.3 * y) ** 2], 1)
        z = 1 / (1 + torch.exp(-torch.nn.functional.max_pool2d(z, (2, 3), stride=1)))
        return self.last(z.mean((2, 3)))


NETWORKS = {
    "functional": Functional,
    "resnet18": lambda: torchvision.models.resnet18(num_classes=5),
    "squeezenet1_0": lambda: torchvision.models.squeezenet1_0(num_classes=5),
    "mobilenet_v2": lambda: torchvision.models.mobilenet_v2(num_classes=5),
    "densenet": lambda: torchvision.models.DenseNet(8, (2, 2), 16, num_classes=5),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_map_sums_to_the_difference_of_the_logits(name: str) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]().double().eval()
    images = torch.randn(2, 3, 33, 33, dtype=torch.float64)
    found = attribute(model, images, [[1, 2], [4, 0]], method="deep_lift", baselines=-0.2)
    with torch.no_grad():
        rise = (model(images) - model(torch.full_like(images, -0.2))).gather(1, torch.tensor([[1, 2], [4, 0]]))
    torch.testing.assert_close(found.maps.sum((2, 3)), rise, rtol=1e-6, atol=1e-7)


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_captum_alone_fails_where_an_activation_feeds_another() -> None:
    """Why the replay is needed; when this fails, captum has learnt it."""
    captum = pytest.importorskip("captum.attr")
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.Sigmoid(), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nn.Sequential(*layers).double()
    image = torch.randn(1, 3, 14, 14, dtype=torch.float64)
    with torch.no_grad():
        rise = float((model(image) - model(torch.zeros_like(image)))[0, 1])
    alone = float(captum.DeepLift(model).attribute(image.clone().requires_grad_(), target=1).sum().detach())
    assert abs(alone - rise) > 1e-3
    assert float(attribute(model, image, [1], method="deep_lift").maps.sum()) == pytest.approx(rise, abs=1e-9)


def test_products_of_activations_have_no_rule() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, images: Tensor) -> Tensor:
            x = self.conv(images)
            return (x * x.mean((2, 3), keepdim=True).sigmoid()).mean((2, 3))

    with pytest.raises(UnsupportedOpError, match=r"aten\.mul.*integrated_gradients"):
        attribute(Gated(), torch.randn(1, 3, 8, 8), [0], method="deep_lift")


def test_batch_statistics_and_dilated_windows_have_no_rule() -> None:
    norm = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    dilated = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, dilation=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for model, message in ((norm, "batch_norm"), (dilated, "dilation")):
        with pytest.raises(UnsupportedOpError, match=message):
            attribute(model, torch.randn(1, 3, 8, 8), [0], method="deep_lift")


def test_what_the_logits_do_not_depend_on_needs_no_rule() -> None:
    class Extra(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, images: Tensor) -> dict[str, Tensor]:
            y = self.conv(images).relu().mean((2, 3))
            return {"logits": y, "probabilities": y.softmax(1), "loss": y.logsumexp(1)}

    assert attribute(Extra(), torch.randn(1, 3, 8, 8), [0], method="deep_lift").maps.shape == (1, 1, 8, 8)
