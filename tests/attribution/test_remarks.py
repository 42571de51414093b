"""What is said about a network besides its maps: probabilities, batch statistics, gradients that are cut, precision."""

import warnings

import pytest
import torch
from torch import nn

import hedgeseg.attribution.methods.hedge as hedge_module
from hedgeseg import attribute
from hedgeseg.attribution import METHODS
from hedgeseg.attribution.errors import UnsupportedModelError, UnsupportedOpError
from hedgeseg.attribution.explaining import full_precision


class Net(nn.Module):
    def __init__(self, last=lambda y: y, norm=None, frozen: bool = False):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), norm or nn.Identity(), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()
        )
        self.head, self.last, self.frozen = nn.Linear(6, 5), last, frozen

    def forward(self, x):
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            y = self.features(x)
        return self.last(self.head(y.mean((2, 3))))


@pytest.fixture
def images():
    return torch.randn(3, 3, 10, 10, generator=torch.Generator().manual_seed(1))


ENDS = {
    "softmax": lambda y: y.softmax(1),
    "log-softmax": lambda y: nn.functional.log_softmax(y, 1),
    "sigmoid": torch.sigmoid,
    "sigmoid of one": lambda y: torch.sigmoid(y[:, :1]).squeeze(1),
    "in a dict": lambda y: {"logits": y.softmax(1), "aux": y},
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("method", ["hedge", "grad_cam", "gradient", "center"])
def test_probabilities_are_remarked_once_per_call(images, end, method):
    net = Net(ENDS[end]).eval()
    with pytest.warns(UserWarning, match=r"probabilities.*(softmax|sigmoid).*output=") as caught:
        attribute(net, images, [[0], [0, 1], [1]], method)
    assert len(caught) == 1


@pytest.mark.parametrize("end", ["softmax", "log-softmax", "sigmoid of one"])
def test_a_method_without_a_rule_for_them_says_so_too(images, end):
    with pytest.raises(UnsupportedOpError, match=r"no rule.*probabilities.*output="):
        attribute(Net(ENDS[end]).eval(), images, [0, 0, 0], "lrp_epsilon")


BEHIND = {
    "softmax, clamped": lambda y: y.softmax(1).clamp(1e-7, 1 - 1e-7),
    "two softmaxes": lambda y: (y.softmax(1) + (2 * y).softmax(1)) / 2,
    "1-p, p": lambda y: (lambda p: torch.cat([1 - p, p], 1))(torch.sigmoid(y[:, :1])),
}
NORMALISED = {
    "sigmoid, scaled by 1": lambda y: torch.sigmoid(y) * 1.0,
    "exponentials, normalised": lambda y: y.exp() / y.exp().sum(1, keepdim=True),
}


@pytest.mark.parametrize(
    ("method", "end"),
    [(m, e) for m in ("hedge", "grad_cam") for e in BEHIND | NORMALISED]
    + [(m, e) for m in ("gradient",) for e in BEHIND],
)
def test_probabilities_behind_more_arithmetic_are_remarked_too(images, end, method):
    with pytest.warns(UserWarning, match=r"probabilities.*(softmax|sigmoid|exp).*output=") as caught:
        attribute(Net((BEHIND | NORMALISED)[end]).eval(), images, [[0], [0, 1], [1]], method)
    assert len(caught) == 1


GATED = {
    "gate": lambda y: 0.5 + 0.01 * torch.tanh(y) * torch.sigmoid(y),
    "attention": lambda y: 0.1 * y * y.softmax(1),
    "clamped": lambda y: y.clamp(0, 1),
}


@pytest.mark.parametrize("end", GATED)
@pytest.mark.parametrize("method", ["hedge", "gradient"])
def test_values_within_0_and_1_alone_are_no_probabilities(images, end, method):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attribute(Net(GATED[end]).eval(), images, [0, 1, 2], method)


@pytest.mark.parametrize("method", ["hedge", "gradient"])
def test_logits_beside_probabilities_and_gates_inside_are_no_matter(images, method):
    net = Net(lambda y: {"logits": y * torch.sigmoid(y), "probabilities": y.softmax(1)}).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attribute(net, images, [0, 1, 2], method, output="logits")


@pytest.mark.parametrize("method", ["hedge", "lrp_epsilon", "gradient", "center", "grad_cam"])
def test_a_batch_norm_without_statistics(images, method):
    net = Net(norm=nn.BatchNorm2d(4, track_running_stats=False)).eval()
    with pytest.raises(UnsupportedModelError, match="running statistics"):
        attribute(net, images, [0, 1, 2], method)
    with pytest.warns(UserWarning, match="track_running_stats=True") as caught:
        attribute(net, images[:1], [0], method)
    assert len(caught) == 1


@pytest.mark.parametrize("method", ["hedge", "lrp_epsilon", "gradient", "center", "grad_cam"])
@pytest.mark.parametrize("affine", [True, False])
def test_an_instance_norm_is_no_batch_norm(images, method, affine):
    net = Net(norm=nn.InstanceNorm2d(4, affine=affine)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together = attribute(net, images, [0, 1, 2], method)
        alone = attribute(net, images[:1], [0], method)
    torch.testing.assert_close(together.maps[:1], alone.maps)


@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "smooth_grad", "gradient_shap"])
@pytest.mark.parametrize("weights_learn", [True, False])
def test_a_backbone_without_gradients_is_refused_by_methods_that_need_them(images, method, weights_learn):
    if METHODS[method].extra:
        pytest.importorskip(METHODS[method].extra)
    net = Net(frozen=True).eval().requires_grad_(weights_learn)
    with pytest.raises(UnsupportedModelError, match=r"no gradient.*no_grad.*hedge"):
        attribute(net, images, [0, 1, 2], method)


@pytest.mark.parametrize("method", ["hedge", "grad_cam", "rsp"])
@pytest.mark.parametrize("cut", [lambda y: y.detach(), lambda y: (y > 0).float(), lambda y: y.argsort(1).float()])
def test_a_head_without_a_gradient_is_refused(images, method, cut):
    class Cut(Net):
        def forward(self, x):
            return self.head(cut(self.features(x).mean((2, 3))))

    with pytest.raises(UnsupportedOpError, match="no gradient of the logits reaches the layer"):
        attribute(Cut().eval(), images, [0, 1, 2], method)


@pytest.mark.parametrize("method", ["hedge", "guided_backprop", "grad_cam", "full_grad"])
def test_a_backbone_without_gradients_is_nothing_to_methods_that_do_not(images, method):
    maps = attribute(Net(frozen=True).eval(), images, [0, 1, 2], method).maps
    torch.testing.assert_close(maps, attribute(Net().eval(), images, [0, 1, 2], method).maps)


def test_bfloat16_where_the_processor_has_none(images, monkeypatch):
    monkeypatch.setattr(hedge_module, "has_bf16", lambda device: False)
    with pytest.warns(UserWarning, match=r"bf16.*float32") as caught:
        slow = attribute(Net().eval(), images, [[0], [0, 1], [1]], precision="bf16")
    assert len(caught) == 1
    torch.testing.assert_close(
        slow.maps, attribute(Net().eval(), images, [[0], [0, 1], [1]]).maps, rtol=0, atol=0, equal_nan=True
    )


@pytest.fixture
def matmul_precision():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("matmul_precision")
@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_tf32_is_off_while_relevance_is_propagated_and_back_afterwards(precision):
    def flags():
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    torch.set_float32_matmul_precision(precision)
    before = flags()
    inside = []

    def work():
        with full_precision(torch.zeros(1)):
            inside.append((*flags(), torch.backends.cuda.matmul.allow_tf32))
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert inside == [("highest", False, False)]
    assert flags() == before
