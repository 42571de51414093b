"""Attention as a layer with a matrix per sample, AttnLRP's rules and the layer norm, against dense twins in float64."""

import numpy as np
import pytest
import torch
from torch import nn

from hedgeseg import attribute
from hedgeseg.attribution import conservation
from hedgeseg.attribution.errors import UnsupportedOpError
from hedgeseg.attribution.rules.alpha_beta import alpha_beta_joint, epsilon_rule
from hedgeseg.attribution.rules.excitation import excitation
from hedgeseg.attribution.rules.hedge import hedge
from hedgeseg.attribution.rules.linear import Mixing
from hedgeseg.attribution.rules.proportional import stabilised
from hedgeseg.attribution.rules.rap import relative_influence
from hedgeseg.attribution.rules.rsp import sectional
from hedgeseg.attribution.samples import Samples

IMAGES, HEADS, TARGETS = 2, 3, 2


def mixing(on_left, signed=False):
    """Attention of 2 images with 3 heads: 4 queries, 5 keys, 2 channels."""
    g = torch.Generator().manual_seed(0)
    a = torch.randn(IMAGES * HEADS, 4, 5, dtype=torch.float64, generator=g)
    a = a if signed else a.softmax(-1)
    x = torch.randn(IMAGES * HEADS, 5, 2, dtype=torch.float64, generator=g)
    r = torch.randn(TARGETS, IMAGES * HEADS, 4, 2, dtype=torch.float64, generator=g)
    x[torch.rand(x.shape, generator=g) < 0.2] = 0
    return (Mixing(a), x, r) if on_left else (Mixing(a.mT.contiguous(), False), x.mT.contiguous(), r.mT.contiguous())


def of_image(linear, i):
    """One image's matrix from all its inputs to all its outputs, entry by entry."""
    size = linear.weight.shape[-1] * 2 if linear.on_left else linear.weight.shape[-2] * 2
    shape = (linear.weight.shape[-1], 2) if linear.on_left else (2, linear.weight.shape[-2])
    blocks = []
    for a in linear.weight[i * HEADS : (i + 1) * HEADS].numpy():
        columns = [e.reshape(shape) for e in np.eye(size)]
        blocks.append(np.stack([(a @ c if linear.on_left else c @ a).ravel() for c in columns], 1))
    full = np.zeros((sum(b.shape[0] for b in blocks), sum(b.shape[1] for b in blocks)))
    row = column = 0
    for b in blocks:
        full[row : row + b.shape[0], column : column + b.shape[1]] = b
        row, column = row + b.shape[0], column + b.shape[1]
    return full


def share(matrix, v, r):
    z = matrix @ v
    s = np.divide(r, z, out=np.zeros_like(r), where=np.abs(z) > 1e-14)
    return v * (matrix.T @ s)


def twin_hedge(m, x, r):
    p, n = np.maximum(r, 0), np.minimum(r, 0)
    tau = np.abs(r).sum() / 2
    p, n = p * tau / p.sum(), n * tau / -n.sum()
    w = np.abs(m)
    return share(w, np.maximum(x, 0), p + n) + share(w, (x > 0).astype(float), p) + share(w, (x <= 0).astype(float), n)


def twin_alpha_beta(m, x, r):
    (xp, xn), (wp, wn) = ((np.maximum(a, 0), np.minimum(a, 0)) for a in (x, m))

    def joint(one, other):
        z = one[0] @ one[1] + other[0] @ other[1]
        s = np.divide(r, z, out=np.zeros_like(r), where=z != 0)
        return one[1] * (one[0].T @ s) + other[1] * (other[0].T @ s)

    return 2 * joint((wp, xp), (wn, xn)) - joint((wn, xp), (wp, xn))


RULES = {
    "hedge": (lambda m, x, r: hedge(m, x, r, samples=Samples(IMAGES, 0, HEADS), pointwise=True), twin_hedge),
    "epsilon": (
        lambda m, x, r: epsilon_rule(m, x, r, divide=stabilised(1e-12)),
        lambda m, x, r: x * (m.T @ (r / (m @ x + 1e-12 * np.where(m @ x < 0, -1, 1)))),
    ),
    "alpha_beta": (lambda m, x, r: alpha_beta_joint(m, x, r, alpha=2), twin_alpha_beta),
    "excitation": (
        lambda m, x, r: excitation(m, x, r),
        lambda m, x, r: x * (np.maximum(m, 0).T @ (r / (np.maximum(m, 0) @ x + 1e-20))),
    ),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("on_left", [True, False])
@pytest.mark.parametrize("signed", [False, True])
def test_rules_at_attention_are_those_at_the_dense_matrix(rule, on_left, signed):
    linear, x, r = mixing(on_left, signed)
    ours, twin = RULES[rule]
    got = ours(linear, x, r)
    for t in range(TARGETS):
        for i in range(IMAGES):
            rows = slice(i * HEADS, (i + 1) * HEADS)
            expected = twin(of_image(linear, i), x[rows].numpy().ravel(), r[t, rows].numpy().ravel())
            np.testing.assert_allclose(got[t, rows].numpy().ravel(), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("on_left", [True, False])
def test_rap_and_rsp_keep_to_their_image(on_left):
    linear, x, r = mixing(on_left)
    samples = Samples(IMAGES, 0, HEADS)
    for rule in (relative_influence, sectional):
        got = rule(linear, x, r, samples=samples)
        assert got.isfinite().all()
        for i in range(IMAGES):
            rows = slice(i * HEADS, (i + 1) * HEADS)
            alone = rule(Mixing(linear.weight[rows], on_left), x[rows], r[:, rows], samples=Samples(1, 0, HEADS))
            torch.testing.assert_close(got[:, rows], alone)


class Block(nn.Module):
    """Attention with softmax over the 9 positions of a map, all steps visible."""

    def __init__(self, norm=False):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 2, stride=2, bias=False), nn.Linear(4, 5, bias=False)
        self.norm = nn.LayerNorm(4) if norm else nn.Identity()

    def forward(self, x):
        y = self.norm(self.conv(x).flatten(2).mT)
        a = (y @ y.mT).softmax(-1)
        return self.fc((a @ y).mean(1))


def propagated(method, model, x, **options):
    return attribute(model, x, [[1, 3]] * len(x), method=method, **options).maps


def test_lrp_with_constant_attention_is_gradient_times_input_with_the_matrix_detached():
    class Summed(Block):
        def forward(self, x, detached=False):
            y = self.conv(x).flatten(2).mT
            a = (y @ y.mT).softmax(-1)
            return self.fc((a.detach() if detached else a) @ y)[:, 4]

    torch.manual_seed(0)
    model, x = Summed().eval().double(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    logits = model(leaf, detached=True)
    got = propagated("lrp_epsilon", model, x, epsilon=1e-13)
    for t, target in enumerate((1, 3)):
        (g,) = torch.autograd.grad(logits[:, target].sum(), leaf, retain_graph=True)
        torch.testing.assert_close(got[:, t], (g * x).sum(1), rtol=1e-6, atol=1e-9)


def test_attnlrp_divides_products_and_softmaxes_as_published():
    """Every factor by loops over single numbers: O = A V, A = softmax(S), S = Q K."""
    from hedgeseg.attribution.nodes import Op, Value
    from hedgeseg.attribution.rules.attention import bilinear, softmax_taylor
    from hedgeseg.attribution.rules.rule import Rule

    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, *s, dtype=torch.float64, generator=g) for s in ((3, 4), (4, 5)))
    r = torch.randn(2, 2, 3, 5, dtype=torch.float64, generator=g)
    values = [Value(t.shape, t.dtype, data=t) for t in (a, b)]
    op = Op(0, torch.ops.aten.bmm.default, tuple(values), {}, "")
    rule = bilinear(Rule(lambda op, r: []), lambda op: stabilised(1e-12))
    passed = dict(rule.function(op, [r]))
    expected = {v: np.zeros((2, *v.shape)) for v in values}
    for t, n, j, p in np.ndindex(2, 2, 3, 5):
        o = sum(float(a[n, j, i] * b[n, i, p]) for i in range(4))
        for i in range(4):
            part = float(a[n, j, i] * b[n, i, p] * r[t, n, j, p]) / (2 * o)
            expected[values[0]][t, n, j, i] += part
            expected[values[1]][t, n, i, p] += part
    for value in values:
        np.testing.assert_allclose(passed[value].numpy(), expected[value], rtol=1e-8)
    # Both halves together are what arrived.
    total = sum(passed[v].sum((2, 3)) for v in values)
    torch.testing.assert_close(total, r.sum((2, 3)))

    x = a.clone()
    x[0, 0, 1] = -float("inf")  # forbidden by a mask
    value = Value(x.shape, x.dtype, data=x)
    r = torch.randn(2, *x.shape, dtype=torch.float64, generator=g)
    ((_, got),) = softmax_taylor(Op(0, torch.ops.aten._softmax.default, (value, -1, False), {}, ""), [r])
    for t, n, j in np.ndindex(2, 2, 3):
        s = torch.softmax(x[n, j], 0)
        for i in range(4):
            if x[n, j, i] > -float("inf"):
                expected_x = float(x[n, j, i] * (r[t, n, j, i] - s[i] * r[t, n, j].sum()))
                assert float(got[t, n, j, i]) == pytest.approx(expected_x, rel=1e-9, abs=1e-12)
            else:
                assert float(got[t, n, j, i]) == 0


@pytest.mark.parametrize("method", ["lrp_epsilon", "lrp_alpha_beta"])
def test_attnlrp_gives_relevance_to_queries_and_keys(method):
    torch.manual_seed(0)
    model, x = Block().eval().double(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    constant, both = (propagated(method, model, x, attention=kind) for kind in ("cplrp", "attnlrp"))
    assert both.isfinite().all()
    assert float((constant - both).abs().max()) > 1e-3 * float(constant.abs().max())
    with pytest.raises(ValueError, match="'cplrp'"):
        propagated(method, model, x, attention="all")


@pytest.mark.parametrize("kind", ["layer", "group", "plain"])
def test_the_layer_norm_rule_is_the_linear_map_with_its_deviation_held(kind):
    from hedgeseg.attribution.nodes import Op, Value
    from hedgeseg.attribution.rules.layer_norm import linear_layer_norm

    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, 4, dtype=torch.float64, generator=g)
    weight, bias = (torch.randn(4 if kind == "layer" else 6, dtype=torch.float64, generator=g) for _ in range(2))
    value = Value(x.shape, x.dtype, data=x)
    if kind == "group":
        op = Op(0, torch.ops.aten.native_group_norm.default, (value, weight, bias, 2, 6, 4, 3, 1e-5), {}, "")
        rows, scale, shift = x.view(2, 3, -1), weight.view(6, 1).expand(6, 4), bias.view(6, 1).expand(6, 4)
    else:
        given = (None, None) if kind == "plain" else (weight, bias)
        op = Op(0, torch.ops.aten.native_layer_norm.default, (value, [4], *given, 1e-5), {}, "")
        rows = x.view(2, 6, -1)
        scale, shift = torch.ones(6, 4), torch.zeros(6, 4)
        if kind == "layer":
            scale, shift = weight.expand(6, 4), bias.expand(6, 4)
    r = torch.randn(3, *x.shape, dtype=torch.float64, generator=g)
    ((_, got),) = linear_layer_norm(lambda op: stabilised(1e-12)).function(op, [r])
    leaf = x.clone().requires_grad_()
    grouped = leaf.view(rows.shape)
    deviation = (rows.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    y = ((grouped - grouped.mean(-1, keepdim=True)) / deviation).view(x.shape) * scale + shift
    for t in range(3):
        (slope,) = torch.autograd.grad(y, leaf, (r[t] / y.detach()), retain_graph=True)
        torch.testing.assert_close(got[t], x * slope, rtol=1e-6, atol=1e-9)
        kept = (r[t] * (1 - shift / y.detach())).sum()
        torch.testing.assert_close(got[t].sum(), kept, rtol=1e-6, atol=1e-9)


def test_attention_conserves_what_arrives():
    torch.manual_seed(0)
    model, x = Block(norm=True).eval().double(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    for method in ("lrp_epsilon", "deep_taylor"):
        steps = [s for s in conservation(model, x, [1, 3], method=method) if s.op == "aten.bmm"]
        assert len(steps) == 1
        if method == "lrp_epsilon":
            torch.testing.assert_close(steps[0].left, steps[0].arrived, rtol=1e-4, atol=1e-6)
    for step in conservation(model, x, [1, 3], method="hedge"):
        if step.op == "aten.bmm":  # as an extended kernel: C sums to 0, A to tau, U and Psi to -tau each
            assert float(step.left.max()) < 0


class Bilinear(nn.Module):
    def __init__(self, product):
        super().__init__()
        self.conv, self.fc, self.product = nn.Conv2d(3, 4, 3), nn.Linear(16, 5), product

    def forward(self, x):
        y = self.conv(x).relu().flatten(2)
        return self.fc(self.product(y).flatten(1))


@pytest.mark.parametrize(
    "product",
    [
        lambda y: y @ y.mT,
        lambda y: torch.einsum("ncp,ndp->ncd", y, y.sin()),
        lambda y: torch.baddbmm(y[:, :, :4], y, y.mT),
    ],
    ids=["matmul", "einsum", "baddbmm"],
)
def test_a_product_that_is_no_attention_is_refused_by_name(product):
    model, x = Bilinear(product).eval(), torch.randn(2, 3, 6, 6)
    for method in ("lrp_epsilon", "rap", "excitation_backprop"):
        with pytest.raises(UnsupportedOpError, match=r"aten\.(bmm|baddbmm).*no attention.*softmax"):
            attribute(model, x, [1, 2], method=method, **({"layer": "conv"} if method == "excitation_backprop" else {}))
    assert attribute(model, x, [1, 2], method="gradient").maps.isfinite().all()


def test_a_layer_is_one_whether_its_input_is_contiguous_or_not():
    """torch adds the bias apart where the input of a linear layer is not contiguous; relevance must not tell."""

    class Turned(nn.Module):
        def __init__(self, copied):
            super().__init__()
            self.conv, self.fc, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 6), nn.Linear(6, 5)
            self.copied = copied

        def forward(self, x):
            y = self.conv(x).flatten(2).mT
            return self.head(self.fc(y.contiguous() if self.copied else y).relu().mean(1))

    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    found = []
    for copied in (True, False):
        torch.manual_seed(0)
        found.append(attribute(Turned(copied).eval().double(), x, [1, 2], method="lrp_alpha_beta").maps)
    torch.testing.assert_close(found[0], found[1])
