"""`attribute`: per-sample, any caller, and a model left exactly as it was."""

import random

import numpy as np
import pytest
import torch
import torchvision
from golden import relative_l2
from torch import nn

from hedgeseg import attribute
from hedgeseg.attribution import conservation


class Net(nn.Module):
    """A small network with a residual sum, a concatenation, writes in place and a functional pooling."""

    def __init__(self, classes=5):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.pool = nn.MaxPool2d(2)
        self.branch = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 1))
        self.left, self.right = nn.Conv2d(8, 4, 3, padding=2, dilation=2), nn.Conv2d(8, 4, 1)
        self.dropout, self.fc = nn.Dropout(0.5), nn.Linear(8, classes)

    def forward(self, x):
        x = self.pool(self.stem(x))
        y = self.branch(x)
        y += x
        y = torch.relu_(y)
        y = torch.cat([self.left(y), self.right(y)], 1)
        y = nn.functional.adaptive_avg_pool2d(torch.relu(y), 1)
        return self.fc(self.dropout(y.flatten(1)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = Net()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return net.eval()


@pytest.fixture
def images():
    return torch.randn(3, 3, 16, 12, generator=torch.Generator().manual_seed(1))


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("method", ["hedge", "grad_cam"])
@pytest.mark.parametrize("options", [{}, {"chunk": 1}, {"chunk": 2}])
def test_an_image_does_not_depend_on_its_batch_nor_a_target_on_the_others(net, images, method, options):
    targets = torch.tensor([[0, 3], [1, 1], [4, 2]])
    together = attribute(net, images, targets, method=method, **options)
    assert together.maps.shape == (3, 2, 16, 12)
    assert together.maps.dtype == torch.float32
    for i in range(3):
        for t in range(2):
            alone = attribute(net, images[i : i + 1], [int(targets[i, t])], method=method)
            close(together.maps[i, t], alone.maps[0, 0])
            close(together.logits[i], alone.logits[0])


def test_ragged_targets_leave_nan_rows(net, images):
    result = attribute(net, images, [[2], [0, 1, 4], []])
    assert result.maps.shape == (3, 3, 16, 12)
    assert result.targets.tolist() == [[2, -1, -1], [0, 1, 4], [-1, -1, -1]]
    assert result.maps[0, 1:].isnan().all()
    assert result.maps[2].isnan().all()
    assert not result.maps[1].isnan().any()
    close(result.maps[0, 0], attribute(net, images[:1], [2]).maps[0, 0])
    close(result.maps[1], attribute(net, images[1:2], torch.tensor([[0, 1, 4]])).maps[0])


def test_no_targets_at_all_give_no_maps(net, images):
    result = attribute(net, images, [[], [], []])
    assert result.maps.shape == (3, 0, 16, 12)
    assert result.logits.shape == (3, 5)


def test_the_result_says_how_it_was_made(net, images):
    result = attribute(net, images, [0, 1, 2], gamma=1.5)
    assert (result.method, result.layer) == ("hedge", "aten.relu:0")
    assert result.options["gamma"] == 1.5
    assert result.options["variant"] == "paper"
    close(result.logits, net(images).detach())


def test_one_forward_pass_per_image(net, images):
    seen = []
    handle = net.stem.register_forward_hook(lambda m, a, out: seen.append(len(out)))
    attribute(net, images, torch.tensor([[0, 1, 2]] * 3))
    attribute(net, images, [[0], [1, 2], [3]])
    handle.remove()
    assert sum(seen) == 6


def snapshot(model):
    return {
        "state": {k: v.clone() for k, v in model.state_dict().items()},
        "identity": [id(t) for t in (*model.parameters(), *model.buffers())],
        "versions": [t._version for t in (*model.parameters(), *model.buffers())],
        "grads": [(id(p.grad), None if p.grad is None else p.grad.clone()) for p in model.parameters()],
        "flags": [p.requires_grad for p in model.parameters()],
        "modes": [m.training for m in model.modules()],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()],
        "rng": (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()),  # noqa: NPY002
        "modes_of_torch": (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
        ),
    }


def assert_untouched(before, after):
    for name, tensor in before["state"].items():
        assert torch.equal(tensor, after["state"][name]), name
    assert torch.equal(before["rng"][0], after["rng"][0])
    assert before["rng"][1:] == after["rng"][1:]
    for (old_id, old), (new_id, new) in zip(before["grads"], after["grads"], strict=True):
        assert old_id == new_id
        assert old is None or torch.equal(old, new)
    for key in ("identity", "versions", "flags", "modes", "hooks", "modes_of_torch"):
        assert before[key] == after[key], key


class Counting(nn.Module):
    """Writes its buffer and draws random numbers in evaluation mode, as some models do."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("noise", torch.zeros(2), persistent=False)

    def forward(self, x):
        self.calls += 1
        self.noise = torch.randn(2)
        random.random()
        np.random.rand()  # noqa: NPY002
        return self.net(x)


@pytest.mark.parametrize(
    "caller", ["plain", "no_grad", "inference_mode", "train", "autocast", "frozen", "accumulating"]
)
def test_any_caller_gets_the_same_maps_and_an_untouched_model(net, images, caller):
    reference = attribute(net, images, [0, 1, 2]).maps
    model = Counting(net)
    model.train(caller == "train")
    model.net.stem[1].eval()
    if caller == "frozen":
        net.requires_grad_(False)
    if caller == "accumulating":
        net(images).sum().backward()
    before = snapshot(model)
    if caller == "no_grad":
        with torch.no_grad():
            maps = attribute(model, images, [0, 1, 2]).maps
    elif caller == "inference_mode":
        with torch.inference_mode():
            maps = attribute(model, images.clone(), torch.tensor([0, 1, 2])).maps
    elif caller == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            maps = attribute(model, images, [0, 1, 2]).maps
    else:
        maps = attribute(model, images, [0, 1, 2]).maps
    after = snapshot(model)
    before["versions"] = after["versions"] = []  # the model itself writes its buffers
    assert_untouched(before, after)
    assert maps.dtype == torch.float32
    if caller == "autocast":
        correlation = torch.corrcoef(torch.stack([maps.flatten(), reference.flatten()]))[0, 1]
        assert correlation > 0.99
    else:
        close(maps, reference)


def test_a_model_is_untouched_when_an_op_raises_half_way(net, images):
    class Failing(nn.Module):
        def forward(self, x):
            if x.shape[-1] == 12:
                raise RuntimeError("half-way")
            return x

    model = nn.Sequential(Counting(net).train(), Failing())
    model[1].forward = lambda x: (_ for _ in ()).throw(RuntimeError("half-way"))
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="half-way"):
        attribute(model, images, [0, 1, 2])
    after = snapshot(model)
    before["versions"] = after["versions"] = []
    assert_untouched(before, after)


def test_an_untouched_buffer_is_not_written(net, images):
    before = snapshot(net)
    attribute(net, images, [0, 1, 2])
    assert_untouched(before, snapshot(net))


def test_a_graph_of_the_callers_survives(net, images):
    net.train()
    loss = net(images).sum()
    attribute(net, images, [0, 1, 2])
    loss.backward()
    assert net.fc.weight.grad is not None


def test_the_images_are_not_written(net, images):
    class Normalising(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x.sub_(0.5).div_(2))

    copy = images.clone()
    close(attribute(Normalising(), images, [0, 1, 2]).maps, attribute(net, (copy - 0.5) / 2, [0, 1, 2]).maps)
    assert torch.equal(images, copy)


def test_float64_models_are_explained_in_float64(net, images):
    result = attribute(net.double(), images.double(), [0, 1, 2])
    assert result.maps.dtype == torch.float64
    close(result.maps.float(), attribute(net.float(), images, [0, 1, 2]).maps)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_models_are_explained_in_float32(net, images, dtype):
    reference = attribute(net, images, [0, 1, 2]).maps
    maps = attribute(net.to(dtype), images.to(dtype), [0, 1, 2]).maps
    assert maps.dtype == torch.float32
    assert torch.corrcoef(torch.stack([maps.flatten(), reference.flatten()]))[0, 1] > 0.99


@pytest.mark.parametrize("arch", ["squeezenet1_1", "mobilenet_v2", "vgg11_bn", "densenet121", "googlenet"])
def test_unedited_networks_of_torchvision(arch):
    torch.manual_seed(0)
    options = {"init_weights": False} if arch == "googlenet" else {}
    network = torchvision.models.get_model(arch, weights=None, num_classes=7, **options)
    images = torch.randn(2, 3, 65, 65)
    result = attribute(network, images, [[1, 2], [3, 4]])
    assert result.maps.shape == (2, 2, 65, 65)
    assert torch.isfinite(result.maps).all()
    assert result.maps.abs().amax(dim=(2, 3)).gt(0).all()
    # Relative to the whole map: an untrained network's features nearly cancel, so single pixels carry rounding noise.
    assert relative_l2(result.maps[1, 0], attribute(network, images[1:], [3]).maps[0, 0]) < 1e-4


def test_the_scale_of_the_maps_does_not_grow_with_depth(images):
    layers = [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU()]
    for _ in range(120):
        layers += [nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()]
    torch.manual_seed(0)
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    for module in net:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    maps = attribute(net, images, [0, 1, 2], gamma=2.0).maps
    assert torch.isfinite(maps).all()
    assert (maps.abs().sum((1, 2, 3)) <= 2 + 1e-4).all()
    assert (maps.abs().sum((1, 2, 3)) > 0.1).all()


def test_conservation_report(net, images):
    report = conservation(net, images, torch.tensor([[0, 1]] * 3), gamma=1.5, layer="branch")
    assert report[0].arrived.shape == (2, 3)
    assert {"aten.convolution", "aten.max_pool2d_with_indices"} <= {entry.op for entry in report}
    pool = next(entry for entry in report if entry.op.startswith("aten.max_pool"))
    close(pool.left, pool.arrived)
    assert pool.module == "pool"
    assert conservation(net, images, [0, 1, 2], method="grad_cam") == []
