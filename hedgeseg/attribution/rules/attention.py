"""Attention with relevance for queries and keys: AttnLRP (Achtibat et al., ICML 2024).

All methods take an attention matrix as a constant: its product with the values is then a layer with weights of its own
for every sample, `rules.linear.Mixing`, and has the method's rule for layers (CP-LRP, Ali et al. 2022). AttnLRP divides
a product equally between its factors and goes on through the softmax:

    O = A B         R_A = A * (R / 2O) B^T,   R_B = B * A^T (R / 2O)                (Eq. 14-15, the epsilon rule)
    s = softmax(x)  R_x = x * (R - s sum(R))                                          (Eq. 13, a Taylor expansion at x)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from hedgeseg.attribution.attention import mixes_images, operands
from hedgeseg.attribution.nodes import Keeps, Op
from hedgeseg.attribution.operations import SOFTMAXES
from hedgeseg.attribution.rules.linear import data
from hedgeseg.attribution.rules.proportional import Division
from hedgeseg.attribution.rules.rule import Relevance, Rule, composite
from hedgeseg.attribution.rules.structural import single

aten = torch.ops.aten

Attention = Literal["cplrp", "attnlrp"]


def check_attention(attention: str) -> None:
    """Raise unless `attention` is one of the two.

    Raises:
        ValueError: Names the value.
    """
    if attention not in ("cplrp", "attnlrp"):
        raise ValueError(f"attention={attention!r}: must be 'cplrp' (attention matrices are constants) or 'attnlrp'")


def attention_rules(
    attention: Attention, table: Mapping[Any, Rule], division: Callable[[Op], Division]
) -> Mapping[Any, Rule]:
    """A method's table with the rules of AttnLRP, if they are asked for.

    Args:
        attention: See `check_attention`.
        table: The method's rules; products with fixed matrices keep theirs.
        division: The division by a product, for an operation.
    """
    if attention == "cplrp":
        return table
    products = (aten.bmm, aten.baddbmm, aten.mm, aten.addmm)
    classes = {frozenset({packet}): bilinear(table[packet], division) for packet in products}
    return composite({**classes, SOFTMAXES: Rule(softmax_taylor, Keeps(inputs=True))}, over=table)


def bilinear(fixed: Rule, division: Callable[[Op], Division]) -> Rule:
    """Half of the relevance of a product to either factor, by the epsilon rule.

    Args:
        fixed: The rule where one factor does not depend on the image.
        division: The division, for an operation.
    """

    def function(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
        if not mixes_images(op):
            return fixed.function(op, relevance)
        left, right = operands(op)
        r = single(relevance)
        a, b = data(left, r.dtype), data(right, r.dtype)
        s = division(op)(r, 2 * (a @ b))
        return [(left, a * (s @ b.mT)), (right, b * (a.mT @ s))]

    return Rule(function, Keeps(inputs=True))


def softmax_taylor(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """``x (R - s sum(R))`` with s the softmax of x; entries that a mask forbids have none."""
    r, value, dim = single(relevance), op.inputs[0], op.args[1]
    x = data(value, r.dtype)
    s = x.softmax(dim).nan_to_num(0.0)
    dim = dim if dim < 0 else dim + 1
    return [(value, torch.where(s == 0, 0, x) * (r - s * r.sum(dim, keepdim=True)))]
