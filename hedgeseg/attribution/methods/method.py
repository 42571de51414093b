"""What a method is: a name, a summary, and a function from a problem to maps."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hedgeseg.attribution.recording import OutputKey
from hedgeseg.attribution.sweep import Conservation


@dataclass(frozen=True)
class Problem:
    """What is to be explained: one batch, every image with equally many targets.

    Attributes:
        model: In evaluation mode, held by `explaining`.
        images: (N, C, *space), as the model takes them.
        targets: int64 (N, T).
        layers: Names of the layers the user chose, see `layers`; none for the default.
        output: Which of several model outputs holds the logits.
        binary: Whether one logit has two sides, targets 0 and 1.
        rows: At most this many maps (targets times images) are propagated at once; None for no limit.
        report: If given, a method that propagates adds what arrived at and left every operation.
        remarks: Gets what the caller should know about the network.
    """

    model: nn.Module
    images: Tensor
    targets: Tensor
    layers: tuple[str, ...] = ()
    output: OutputKey = None
    binary: bool = True
    rows: int | None = None
    report: list[Conservation] | None = None
    remarks: set[str] = field(default_factory=set)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of propagation and of the maps: float32, or float64 where the images are."""
        return torch.float64 if self.images.dtype == torch.float64 else torch.float32

    def target_slices(self, total: int | None = None) -> Iterator[slice]:
        """Slices of the targets (or of `total` maps per image) such that each fits `rows`."""
        total = self.targets.shape[1] if total is None else total
        step = total if self.rows is None else max(1, self.rows // len(self.images))
        for start in range(0, total, step):
            yield slice(start, start + step)


@dataclass(frozen=True)
class Explanation:
    """What a method found.

    Attributes:
        maps: (T, N, *space), channel-summed, at the resolution of the images.
        logits: (N, K).
        layer: The layer that was used, several with " + " between them, "" where the method uses none.
    """

    maps: Tensor
    logits: Tensor
    layer: str = ""


@dataclass(frozen=True)
class Method:
    """A row of the registry.

    Attributes:
        name: The name by which `attribute` calls it.
        summary: One line for `hedgeseg methods`.
        explain: From a problem and the method's own options to an explanation.
        signed: Whether negative values mean evidence against the target.
        cost: What one image costs, in forward and backward passes.
        extra: The optional extra that the method needs, "" for none.
        renamed: Former names of options, and what they are now; they are taken for one version, with a warning.
    """

    name: str
    summary: str
    explain: Callable[..., Explanation]
    signed: bool
    cost: str = "1 forward"
    extra: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def options(self) -> dict[str, Any]:
        """The options and their defaults."""
        parameters = list(inspect.signature(self.explain).parameters.values())[1:]
        return {p.name: p.default for p in parameters}

    def with_defaults(self, options: dict[str, Any]) -> dict[str, Any]:
        """All options of a call.

        Raises:
            ValueError: If an option is unknown, or given by both its names; lists the known ones.
        """
        known = self.options
        options = self._by_new_names(options)
        for name in options:
            if name not in known:
                takes = ", ".join(f"{k}={v!r}" for k, v in known.items()) or "no options"
                raise ValueError(f"method {self.name!r} has no option {name!r}; it takes {takes}")
        return {**known, **options}

    def _by_new_names(self, options: Mapping[str, Any]) -> dict[str, Any]:
        given = dict(options)
        for old, new in self.renamed.items():
            if old in given:
                if new in given:
                    raise ValueError(f"method {self.name!r} was given {old}= and {new}=, which are one option")
                warnings.warn(
                    f"the option {old!r} of method {self.name!r} is called {new!r} now; the old name goes with the "
                    "next version",
                    FutureWarning,
                    stacklevel=5,
                )
                given[new] = given.pop(old)
        return given
