"""Logits that are log-sum-exps of finer ones are explained by every method, and relevance keeps its sum there."""

import pytest
import torch
from torch import nn

from hedgeseg import METHODS, attribute
from hedgeseg.attribution import conservation
from hedgeseg.models.grouped_logits import GroupedLogits

SMALL = {
    "rise": {"masks": 4}, "extremal_perturbation": {"iterations": 2}, "lime": {"n_samples": 8},
    "integrated_gradients": {"n_steps": 4}, "smooth_grad": {"nt_samples": 2}, "gradient_shap": {"n_samples": 2},
    "occlusion": {"window": 8},
}  # fmt: skip


def grouped(bias=True):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=bias), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1, bias=bias), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7, bias=bias),
    )  # fmt: skip
    return GroupedLogits(network, [[0, 3], [1], [2, 4, 6]]).eval()


@pytest.mark.parametrize("method", [name for name in METHODS if "rollout" not in name])  # they need attention
def test_every_method_explains_grouped_logits(method):
    model, images = grouped(), torch.randn(2, 3, 16, 16)
    maps = attribute(model, images, [[0, 2], [1, 2]], method=method, **SMALL.get(method, {})).maps
    assert maps.shape == (2, 2, 16, 16)
    assert maps.isfinite().all()
    alone = attribute(model, images[1:], [[1, 2]], method=method, **SMALL.get(method, {})).maps
    torch.testing.assert_close(maps[1:], alone, rtol=1e-3, atol=1e-6 * float(maps.abs().max()))


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dims", [1, (1, 2)])
def test_a_log_sum_exp_divides_relevance_by_its_gradient(dims, keepdim):
    class Pool(nn.Module):
        def forward(self, x):
            y = torch.logsumexp(x.flatten(2), dims, keepdim=keepdim)
            return y.flatten(1) if isinstance(dims, int) else y.view(len(x), 1)

    images = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    maps = attribute(Pool(), images, [0, 0], method="lrp_epsilon", binary=False).maps
    leaf = images.clone().requires_grad_()
    logit = Pool()(leaf)[:, 0]
    # LRP starts with the logit, and its gradient divides it.
    expected = logit.detach()[:, None, None] * torch.autograd.grad(logit.sum(), leaf)[0].sum(1)
    torch.testing.assert_close(maps[:, 0], expected)


def test_relevance_is_conserved_through_groups():
    steps = conservation(grouped(bias=False), torch.rand(1, 3, 16, 16), [2], method="deep_taylor")
    through = [(float(s.arrived), float(s.left)) for s in steps if "logsumexp" in s.op]
    assert max(abs(arrived) for arrived, _ in through) > 0
    for arrived, left in through:
        assert left == pytest.approx(arrived, rel=1e-5)


def test_deep_lift_of_grouped_logits_is_complete():
    model, images = grouped(), torch.randn(2, 3, 16, 16)
    maps = attribute(model, images, [0, 2], method="deep_lift").maps[:, 0]
    difference = model(images) - model(torch.zeros_like(images))
    expected = difference[torch.arange(2), torch.tensor([0, 2])]
    torch.testing.assert_close(maps.sum((1, 2)), expected.detach(), rtol=1e-4, atol=1e-5)
