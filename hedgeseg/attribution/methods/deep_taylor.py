"""Deep Taylor decomposition: the z+ rule in hidden layers, the z^B rule at the pixels (Montavon et al. 2017).

r = attribute(model, images, targets, method="deep_taylor")
"""

from __future__ import annotations

from functools import partial

from hedgeseg.attribution.methods.from_logits import propagate, record_logits, target_logits
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.rules.alpha_beta import alpha_beta_joint
from hedgeseg.attribution.rules.layered import Z_BOX, layered_rules, plain, positive_proportion
from hedgeseg.attribution.rules.rule import RuleBook


def rule_book() -> RuleBook:
    """z+ without biases; a residual sum is a layer with weights of 1."""
    return RuleBook("deep_taylor", layered_rules(plain(partial(alpha_beta_joint, alpha=1)), Z_BOX, positive_proportion))


def explain(problem: Problem) -> Explanation:
    """Deep Taylor decomposition of the target's logit (Eq. 16 and 18).

    Args:
        problem: What is to be explained.

    Returns:
        Maps in units of the logit. The decomposition is of a positive output: every pixel has the logit's sign, and the
        sum is the logit as far as each layer has a positive contribution. Cost: one forward pass, and per target two
        convolutions a layer.
    """
    book = rule_book()
    recording = record_logits(problem, book)
    maps = propagate(problem, recording, book, target_logits(problem, recording)).sum(2)
    return Explanation(maps, recording.logits)


METHOD = Method(
    "deep_taylor",
    "Deep Taylor decomposition (Montavon et al. 2017): positive evidence only, z^B at the pixels",
    explain,
    signed=False,
    cost="1 forward, then 2 convolutions a layer per target",
)
