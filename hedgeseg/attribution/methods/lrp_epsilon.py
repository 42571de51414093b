"""Layer-wise relevance propagation with the epsilon rule (Bach et al. 2015).

r = attribute(model, images, targets, method="lrp_epsilon", epsilon=1e-6)
"""

from __future__ import annotations

from torch import Tensor

from hedgeseg.attribution.methods.from_logits import propagate, record_logits, target_logits
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.nodes import Op
from hedgeseg.attribution.operations import BATCH_NORMS, LAYER_NORMS
from hedgeseg.attribution.rules.alpha_beta import epsilon_rule
from hedgeseg.attribution.rules.attention import Attention, attention_rules, check_attention
from hedgeseg.attribution.rules.batch_norm import affine_batch_norm
from hedgeseg.attribution.rules.layer_norm import linear_layer_norm
from hedgeseg.attribution.rules.layered import layered_rules, signed_proportion
from hedgeseg.attribution.rules.linear import Convolution, Dense, bias_of
from hedgeseg.attribution.rules.proportional import Division, stabilised_by_scale
from hedgeseg.attribution.rules.rule import Relevance, RuleBook, composite


def explain(problem: Problem, epsilon: float = 1e-6, attention: Attention = "cplrp") -> Explanation:
    """LRP-epsilon (Eq. 58) of the target's logit down to the pixels.

    With a small epsilon it equals gradient times input in a network of ReLUs without biases. A batch norm is taken as
    part of the convolution before it, its shift as a bias: relevance that passed it unchanged would grow without bound
    where the convolution's output is small beside the shift.

    Args:
        problem: What is to be explained.
        epsilon: Added to the denominators, with their sign, in units of the root mean square of a layer's denominators
            for the image, so that it means the same whatever the scale of the network; larger values absorb weak
            evidence.
        attention: In a transformer, "cplrp" takes attention matrices as constants, so that queries and keys get nothing
            (Ali et al. 2022); "attnlrp" divides products equally between their factors and goes on through the softmax
            (Achtibat et al. 2024). Both take a layer norm as the linear map that it is with its deviation held.

    Returns:
        Signed maps in units of the logit; their sum is the logit less what biases and epsilon absorb. Cost: one forward
        pass, and per target one convolution a layer.

    Raises:
        ValueError: If epsilon is not positive, attention has no such value, or a layer is given.
    """
    check_attention(attention)
    if not epsilon > 0:
        raise ValueError(f"epsilon={epsilon}: must be positive, such as 1e-6")

    def hidden(op: Op, linear: Convolution | Dense, x: Tensor, r: Tensor) -> Tensor:
        return epsilon_rule(linear, x, r, divide=division(op), bias=bias_of(op, r.dtype))

    def division(op: Op) -> Division:
        return stabilised_by_scale(epsilon, op.samples)

    def share(op: Op, r: Tensor) -> Relevance:
        return signed_proportion(op, r, divide=division(op))

    norms = {BATCH_NORMS: affine_batch_norm(division), LAYER_NORMS: linear_layer_norm(division)}
    rules = composite(norms, over=layered_rules(hidden, first=None, share=share, of_tokens=share))
    book = RuleBook("lrp_epsilon", attention_rules(attention, rules, division))
    recording = record_logits(problem, book)
    maps = propagate(problem, recording, book, target_logits(problem, recording)).sum(2)
    return Explanation(maps, recording.logits)


METHOD = Method(
    "lrp_epsilon",
    "LRP-epsilon (Bach et al. 2015): the logit divided in proportion to signed contributions",
    explain,
    signed=True,
    cost="1 forward, then 1 convolution a layer per target",
)
