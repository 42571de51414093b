"""Contrastive LRP: the class's relevance minus that of all others (Gu et al. 2018).

r = attribute(model, images, targets, method="contrastive_lrp")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from hedgeseg.attribution.methods.from_logits import one_hot, propagate, record_logits
from hedgeseg.attribution.methods.lrp_alpha_beta import EPSILON, separate_book
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.recording import Recording
from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.attention import Attention, attention_rules, check_attention
from hedgeseg.attribution.rules.proportional import stabilised
from hedgeseg.attribution.samples import Samples, per_sample, spread

# From logits (N, K) and the one-hot targets (T, N, K) to the starts of the class's pass and of the others'.
Starts = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def explain(problem: Problem, attention: Attention = "cplrp") -> Explanation:
    """LRP (alpha 1, beta 0) from the target, minus LRP from every other class, scaled to the same sum.

    ``L(R) - r L(R')`` with r the ratio of their sums: R is the target's logit at the target, and R' the same logit,
    divided by their number, at each other class.

    Args:
        problem: What is to be explained.
        attention: See ``lrp_epsilon``.

    Returns:
        Signed maps in units of the logit, of sum 0: positive where the class owns more than its share of the relevance.
        The passes may be nearly equal, so that their difference is known to few digits: 1 % is usual in float32. Give
        the images and the model as float64 where that matters. Cost: one forward pass, and per target four
        convolutions a layer.
    """
    target, others, recording = passes(problem, "contrastive_lrp", starts, attention)
    return Explanation(balance(target, others), recording.logits)


def passes(
    problem: Problem, method: str, starts_of: Starts, attention: Attention = "cplrp"
) -> tuple[Tensor, Tensor, Recording]:
    """The map of the class and that of the others, (T, N, *space) each, and the forward pass."""
    check_attention(attention)
    book = separate_book(method, alpha=1)
    book = replace(book, rules=attention_rules(attention, book.rules, lambda op: stabilised(EPSILON)))
    recording = record_logits(problem, book)
    logits = recording.class_logits.detach().to(problem.dtype)
    start = torch.cat(starts_of(logits, one_hot(problem, recording)))
    target, others = propagate(problem, recording, book, start).sum(2).chunk(2)
    return target, others, recording


def balance(target: Tensor, others: Tensor) -> Tensor:
    """``L - r L'`` with r such that the sum of every map (T, N, *space) is 0; L itself where L' has no mass."""
    samples = Samples(target.shape[1])
    ratio = safe_divide(per_sample(target, samples), per_sample(others, samples))
    return target - spread(ratio, others, samples) * others


def starts(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Where both passes begin.

    Args:
        logits: (N, K).
        target: One-hot (T, N, K).

    Returns:
        The target's logit at the target, and the same divided equally among the others; (T, N, K) each.
    """
    y = (logits * target).sum(-1, keepdim=True)
    return target * y, (1 - target) * y / max(1, logits.shape[1] - 1)


METHOD = Method(
    "contrastive_lrp",
    "Contrastive LRP (Gu et al. 2018): the class's relevance minus that of all other classes",
    explain,
    signed=True,
    cost="1 forward, then 4 convolutions a layer per target",
)
