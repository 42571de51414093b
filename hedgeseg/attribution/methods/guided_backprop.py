"""Guided backpropagation: the gradient with negative values dropped at every ReLU (Springenberg et al. 2015).

r = attribute(model, images, targets, method="guided_backprop")
"""

from __future__ import annotations

from hedgeseg.attribution.methods.from_logits import one_hot, propagate, record_logits
from hedgeseg.attribution.methods.gradient import Channels, check_channels, collapse
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.nodes import Keeps
from hedgeseg.attribution.operations import CONVOLUTIONS, RECTIFIERS
from hedgeseg.attribution.rules.gradient import gradient, guided, linear_gradient
from hedgeseg.attribution.rules.rule import Rule, RuleBook, composite


def rule_book() -> RuleBook:
    """The gradient everywhere but at rectifiers."""
    rules = composite({RECTIFIERS: Rule(guided, Keeps(inputs=True)), CONVOLUTIONS: Rule(linear_gradient)})
    return RuleBook("guided_backprop", rules, fallback=Rule(gradient, Keeps(inputs=True)))


def explain(problem: Problem, channels: Channels = "sum") -> Explanation:
    """The gradient of the target's logit, where every ReLU (and ReLU6) lets only positive gradients back.

    ``g_in = g [g > 0] [x >= 0]`` (Fig. 1 of the paper).

    Args:
        problem: What is to be explained.
        channels: How the channels become one map: their signed sum, or the largest absolute value.

    Returns:
        Maps in logits per unit of the normalised pixel. The sign is that of the guided gradient; the map hardly
        depends on the target. In a network without ReLUs it is the gradient. Cost: one forward pass, and as much again
        as one backward pass per target.

    Raises:
        ValueError: If an option has no such value, or a layer is given.
    """
    check_channels(channels)
    book = rule_book()
    recording = record_logits(problem, book)
    maps = propagate(problem, recording, book, one_hot(problem, recording))
    return Explanation(collapse(maps, channels), recording.logits)


METHOD = Method(
    "guided_backprop",
    "Guided backpropagation (Springenberg et al. 2015): the gradient with negative values dropped at every ReLU",
    explain,
    signed=True,
    cost="1 forward, then a backward per target",
)
