"""Models as people write them: compiled, checkpointed, wrapped, writing in place, reusing modules."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from hedgeseg import attribute, resolve_layer


@pytest.fixture
def images():
    return torch.randn(2, 3, 14, 10, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def net():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    ).eval()  # fmt: skip


def same(a, b):
    torch.testing.assert_close(a.maps, b.maps, rtol=1e-4, atol=1e-7)


def test_compiled_models(net, images):
    reference = attribute(net, images, [0, 1])
    compiled = torch.compile(net, backend="aot_eager")
    compiled(images)
    same(attribute(compiled, images, [0, 1]), reference)
    assert resolve_layer(compiled, images, "_orig_mod.5") == "5"
    inner = nn.Sequential(torch.compile(net[:6], backend="aot_eager"), net[6:])
    inner(images)
    result = attribute(inner, images, [0, 1])
    same(result, reference)
    assert "_orig_mod" not in result.layer
    net.compile(backend="aot_eager")
    same(attribute(net, images, [0, 1]), reference)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(net, images, reentrant):
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk, self.head = net[:6], net[6:]

        def forward(self, x):
            return self.head(checkpoint(self.trunk, x, use_reentrant=reentrant))

    same(attribute(Checkpointed(), images, [0, 1]), attribute(net, images, [0, 1]))


def test_data_parallel_wrapper(net, images):
    wrapped = nn.DataParallel(net)
    same(attribute(wrapped, images, [0, 1]), attribute(net, images, [0, 1]))
    assert resolve_layer(wrapped, images, "module.5") == "5"


def test_distributed_wrapper(net, images, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(net)
        same(attribute(wrapped, images, [0, 1]), attribute(net, images, [0, 1]))
    finally:
        torch.distributed.destroy_process_group()


def test_channels_last(net, images):
    reference = attribute(net, images, [0, 1])
    last = net.to(memory_format=torch.channels_last)
    same(attribute(last, images.contiguous(memory_format=torch.channels_last), [0, 1]), reference)


def test_a_frozen_trunk_under_no_grad(net, images):
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk, self.head = net[:6], net[6:]

        def forward(self, x):
            with torch.no_grad():
                x = self.trunk(x)
            return self.head(x)

    same(attribute(Frozen(), images, [0, 1]), attribute(net, images, [0, 1]))


def test_parameters_and_buffers_born_in_inference_mode(net, images):
    reference = attribute(net, images, [0, 1])
    with torch.inference_mode():
        born = nn.Sequential(*[nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), *net[2:]])
        for module, original in zip(born[:2], net[:2], strict=True):
            module.load_state_dict(original.state_dict())
    assert born[0].weight.is_inference()
    same(attribute(born.eval(), images, [0, 1]), reference)


class Sharing(nn.Module):
    """One convolution runs twice, and its output is used twice."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        y = torch.relu(self.conv(torch.relu(self.stem(x))))
        z = torch.relu(self.conv(y))
        return self.fc(torch.cat([y, z], 1).mean((2, 3)))


class Unshared(nn.Module):
    """The same function with a convolution for every call."""

    def __init__(self, shared):
        super().__init__()
        self.stem, self.first, self.second, self.fc = shared.stem, shared.conv, nn.Conv2d(4, 4, 3, padding=1), shared.fc
        self.second.load_state_dict(shared.conv.state_dict())

    def forward(self, x):
        y = torch.relu(self.first(torch.relu(self.stem(x))))
        z = torch.relu(self.second(y))
        return self.fc(torch.cat([y, z], 1).mean((2, 3)))


def test_a_module_that_runs_twice(images):
    torch.manual_seed(0)
    shared = Sharing()
    same(attribute(shared, images, [0, 1]), attribute(Unshared(shared), images, [0, 1]))


class Writing(nn.Module):
    """Writes into views and into a tensor of its own; `inplace=False` computes the same by functions."""

    def __init__(self, inplace):
        super().__init__()
        self.inplace = inplace
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        x = self.first(x)
        if self.inplace:
            x[:, :2] *= 2
            x[:, 2].add_(1)
            y = torch.zeros_like(x)
            y[:, :, 1:] = x[:, :, :-1]
            y[:, :, 0] = 0.5
            y.relu_()
        else:
            x = torch.cat([x[:, :2] * 2, x[:, 2:3] + 1, x[:, 3:]], 1)
            y = torch.cat([torch.full_like(x[:, :, :1], 0.5), x[:, :, :-1]], 2).relu()
        return self.fc(torch.relu(self.second(y)).mean((2, 3)))


@pytest.mark.parametrize("method", ["hedge", "lrp_epsilon", "full_grad", "guided_backprop", "agf"])
def test_writes_into_views(images, method):
    torch.manual_seed(0)
    writing, functional = Writing(True), Writing(False)
    functional.load_state_dict(writing.state_dict())
    torch.testing.assert_close(writing(images), functional(images))
    same(attribute(writing, images, [0, 1], method=method), attribute(functional, images, [0, 1], method=method))


@pytest.mark.parametrize("output", [0, "logits"])
def test_named_tuples_and_indices(net, images, output):
    from collections import namedtuple

    result = namedtuple("Result", ["logits", "aux"])

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            y = self.net(x)
            return result(y, y * 2)

    same(attribute(Two(), images, [0, 1], output=output), attribute(net, images, [0, 1]))


def test_gates_are_constants(images):
    class Gated(nn.Module):
        def __init__(self, gate):
            super().__init__()
            self.first, self.second, self.gate = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), gate
            self.squeeze, self.fc = nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

        def forward(self, x):
            x = nn.functional.silu(self.first(x))
            if self.gate == "squeeze":
                x = x * torch.sigmoid(self.squeeze(x.mean((2, 3), keepdim=True)))
            elif self.gate == "spatial":
                x = torch.sigmoid(self.squeeze(x)) * x
            elif self.gate == "swish":
                x = x * torch.sigmoid(x)
            return self.fc(nn.functional.gelu(self.second(x)).mean((2, 3)))

    for gate in ("squeeze", "spatial", "swish"):
        maps = attribute(Gated(gate), images, [0, 1]).maps
        assert torch.isfinite(maps).all()
        assert maps.abs().sum() > 0


@pytest.mark.parametrize("space", [(20,), (12, 10), (6, 8, 6)])
@pytest.mark.parametrize("channels", [1, 4])
def test_one_to_three_dimensions_and_any_number_of_channels(space, channels):
    conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(space)]
    pool = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}[len(space)]
    norm = nn.GroupNorm(2, 4)
    torch.manual_seed(0)
    net = nn.Sequential(conv(channels, 4, 3, padding=1), norm, nn.ReLU(), pool(2), conv(4, 4, 3, padding=1), nn.ReLU())
    head = nn.Linear(4, 3)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.head = net, head

        def forward(self, x):
            return self.head(self.net(x).flatten(2).mean(-1))

    x = torch.randn(2, channels, *space)
    result = attribute(Net(), x, [[0, 1], [2, 1]])
    assert result.layer == "net"
    assert result.maps.shape == (2, 2, *space)
    torch.testing.assert_close(result.maps[1], attribute(Net(), x[1:], [[2, 1]]).maps[0], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("case", ["zero", "constant", "saturated", "dead", "one_pixel"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_degenerate_inputs_give_finite_maps(net, case, dtype):
    images = torch.randn(2, 3, 14, 10)
    if case == "zero":
        images = torch.zeros_like(images)
    elif case == "constant":
        images = torch.full_like(images, 0.7)
    elif case == "saturated":
        images = images.sign() * 100
    elif case == "dead":
        nn.init.constant_(net[4].bias, -1e4)
    elif case == "one_pixel":
        images = images[:, :, :2, :2]
    result = attribute(net.to(dtype), images.to(dtype), [[0, 1], [2, 3]], gamma=1.5)
    assert torch.isfinite(result.maps).all()


def test_a_scale_and_shift_in_one_operation():
    class Shifted(nn.Module):
        def __init__(self, fused):
            super().__init__()
            self.fused, self.first, self.second, self.fc = (
                fused,
                nn.Conv2d(3, 4, 3),
                nn.Conv2d(4, 4, 3),
                nn.Linear(4, 2),
            )
            self.scale, self.shift = nn.Parameter(torch.rand(4, 1, 1)), nn.Parameter(torch.randn(4, 1, 1))

        def forward(self, x):
            x = self.first(x)
            x = torch.addcmul(self.shift, self.scale, x) if self.fused else self.shift + self.scale * x
            return self.fc(self.second(x.relu()).relu().mean((2, 3)))

    torch.manual_seed(0)
    fused, plain, images = Shifted(True), Shifted(False), torch.randn(2, 3, 9, 9)
    plain.load_state_dict(fused.state_dict())
    torch.testing.assert_close(attribute(fused, images, [0, 1]).maps, attribute(plain, images, [0, 1]).maps)


class Crossed(nn.Module):
    """A sum of row and column features, of as many entries each, which are broadcast against each other."""

    def __init__(self):
        super().__init__()
        self.stem, self.rows, self.columns = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.fc = nn.Linear(4, 3)
        nn.init.constant_(self.rows.bias, 1.0)

    def forward(self, x):
        x = self.stem(x).relu()
        y = self.rows(x).mean(3, keepdim=True) + self.columns(x).mean(2, keepdim=True)
        return self.fc(y.relu().mean((2, 3)))


@pytest.mark.parametrize(
    "method", ["hedge", "lrp_epsilon", "rsp", "rap", "agf", "deep_taylor", "grad_cam", "full_grad"]
)
@pytest.mark.parametrize("options", [{}, {"residual": "influence"}, {"variant": "official"}])
def test_a_sum_across_dimensions(method, options):
    if options and method != "hedge":
        return
    torch.manual_seed(0)
    net, images = Crossed().double(), torch.randn(2, 3, 9, 9, dtype=torch.float64)
    maps = attribute(net, images, [0, 1], method=method, **options).maps
    assert maps.shape == (2, 1, 9, 9)
    assert maps.abs().flatten(1).sum(1).gt(0).all()
    alone = attribute(net, images[1:], [1], method=method, **options).maps
    torch.testing.assert_close(maps[1:], alone)


@pytest.mark.parametrize("method", ["hedge", "lrp_epsilon", "grad_cam"])
def test_a_write_of_no_entries(images, method):
    class Empty(Writing):
        def forward(self, x):
            x = self.first(x)
            x[:, :0] = 0
            x[:, :, 5:5] *= 2
            return self.fc(torch.relu(self.second(x)).mean((2, 3)))

    class Without(Writing):
        def forward(self, x):
            return self.fc(torch.relu(self.second(self.first(x))).mean((2, 3)))

    torch.manual_seed(0)
    empty, without = Empty(True), Without(True)
    without.load_state_dict(empty.state_dict())
    same(attribute(empty, images, [0, 1], method=method), attribute(without, images, [0, 1], method=method))


def test_two_threads_explain_one_model(net, images):
    expected = [attribute(net, images, [0, i], gamma=1.5).maps for i in range(4)]
    net.train()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: attribute(net, images, [0, i % 4], gamma=1.5).maps, range(24)))
    for i, maps in enumerate(found):
        torch.testing.assert_close(maps, expected[i % 4])
    assert all(module.training for module in net.modules())


def test_a_model_that_serves_another_thread_meanwhile(net, images):
    expected = attribute(net, images, [0, 1]).maps
    with torch.no_grad(), ThreadPoolExecutor(1) as pool:
        logits = net(images)
        served = pool.submit(lambda: [net(images) for _ in range(300)])
        found = [attribute(net, images, [0, 1]).maps for _ in range(10)]
        assert all(torch.equal(y, logits) for y in served.result())
    for maps in found:
        torch.testing.assert_close(maps, expected)
