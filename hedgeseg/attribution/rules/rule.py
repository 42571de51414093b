"""What a rule is, and the table of a method: from classes of operations to rules.

The relevance of a `Value` of shape S is a tensor of shape (T, *S): one row for each of the T targets of an image. A
rule takes the relevance of an operation's outputs to the relevance of its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch import Tensor

from hedgeseg.attribution.attention import ADVICE, mixes_images
from hedgeseg.attribution.errors import UnsupportedOpError
from hedgeseg.attribution.nodes import Keeps, Op, Value

Relevance = list[tuple[Value, Tensor]]
RuleFunction = Callable[[Op, Sequence[Tensor | None]], Relevance]


@dataclass(frozen=True)
class Rule:
    """How relevance passes one kind of operation, and which tensors of the forward pass that takes."""

    function: RuleFunction
    keeps: Keeps | Callable[[Op], Keeps] = field(default_factory=Keeps)


@dataclass(frozen=True)
class RuleBook:
    """The rules of one method.

    Attributes:
        method: The method's name, for messages.
        rules: ATen operator packet to rule.
        special: Single operations that have a rule of their own (the classifier, in some methods).
        fallback: The rule of every other operation; None where there is none.
        equivariant: Whether the rules commute with scaling a sample's relevance; it is kept in range then, since rules
            that add mass at every layer would overflow in networks of hundreds of layers.
        advice: What to do where a rule is missing.
    """

    method: str
    rules: Mapping[Any, Rule]
    special: Mapping[Op, Rule] = field(default_factory=dict)
    fallback: Rule | None = None
    equivariant: bool = False
    advice: str = "Choose a layer= behind it, or another method (grad_cam and gradient work with any operation)."

    def keeps(self, op: Op) -> Keeps:
        """What is needed of an operation after the forward pass."""
        rule = self._find(op)
        if rule is None:
            return Keeps()
        return rule.keeps(op) if callable(rule.keeps) else rule.keeps

    def rule(self, op: Op) -> Rule:
        """The rule for an operation.

        Raises:
            UnsupportedOpError: If there is none; names the operation, the module and a remedy.
        """
        rule = self._find(op)
        if rule is None:
            where = f"module {op.module!r}" if op.module else "the model's own forward"
            shapes = [tuple(v.shape) for v in op.inputs]
            raise UnsupportedOpError(
                f"method {self.method!r} has no rule for {op.name} (in {where}, inputs {shapes}). "
                f"{ADVICE if mixes_images(op) else self.advice}"
            )
        return rule

    def _find(self, op: Op) -> Rule | None:
        return self.special.get(op) or self.rules.get(op.packet, self.fallback)


def composite(
    classes: Mapping[frozenset[Any], Rule], over: Mapping[Any, Rule] = MappingProxyType({})
) -> dict[Any, Rule]:
    """The table of a method, from classes of operations (`operations`) to rules.

    Args:
        classes: A rule for each class; of two that an operation is in, the later one counts.
        over: The rules of operations that are in none.
    """
    return {**over, **{packet: rule for packets, rule in classes.items() for packet in packets}}
