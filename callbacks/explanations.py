"""From examples to explanations: targets chosen, maps made, memory running out survived."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hedgeseg.attribution import METHODS, attribute
from hedgeseg.attribution.explaining import explaining
from hedgeseg.attribution.recording import OutputKey, select_logits
from hedgeseg.callbacks.batches import Example
from hedgeseg.callbacks.budget import TimeBudget
from hedgeseg.callbacks.network import calling
from hedgeseg.callbacks.sides import side_scores, with_sides

Target = Literal["label", "predicted"] | int | list[int]
Failure = tuple[Example, Exception]


@dataclass(frozen=True, eq=False)
class Explanation:
    """The maps of one example.

    Attributes:
        example: the image.
        classes: class index of each map.
        maps: float32 `(T, H, W)` on the CPU, signed.
        scores: probability of each class, softmax or sigmoid.
        num_classes: of the network; 2 for the two sides of one logit.
        sides: whether the classes are the two sides of one logit.
    """

    example: Example
    classes: tuple[int, ...]
    maps: Tensor
    scores: tuple[float, ...]
    num_classes: int
    sides: bool = False


class Explainer:
    """Explains examples of one shape in one call, for the classes `target` names.

    Args:
        method: name of the attribution method.
        target: `"label"`: every class the image is labelled with; `"predicted"`: the likeliest class, and for
            multi-label data every class with a probability above one half; an index or a list of them: always these.
        options: of `attribute`: layer, chunk, output and the method's own.
        function: what makes the maps; a parameter so that tests need no network.
    """

    def __init__(
        self, method: str, target: Target, options: Mapping[str, Any], function: Callable[..., Any] = attribute
    ) -> None:
        if isinstance(target, str) and target not in ("label", "predicted"):
            raise ValueError(f"target is 'label', 'predicted', a class index or a list of them, got {target!r}")
        self.method = method
        self.target = target
        self.options = dict(options)
        self.function = function
        self._width: int | None = None

    def wants(self, example: Example) -> bool:
        """Whether there is a class to explain this image for.

        With `target="label"` an image must have a label, unless the network is `two_sided`: without a label it is on
        the other side.
        """
        return self.target != "label" or example.labels is None or bool(example.labels) or self.two_sided

    def __call__(self, network: nn.Module, examples: Sequence[Example], device: torch.device) -> list[Explanation]:
        """Explain examples whose images have one shape.

        Raises:
            ValueError: `target="label"` and images without labels.
        """
        images = torch.stack([e.image for e in examples]).to(device)
        self.look_at(network, images[:1])
        sides = self.two_sided
        if sides:
            examples = [with_sides(example) for example in examples]
        targets = self.targets(network, images, examples)
        result = self.attribute(network, images, targets)
        logits = result.logits.detach().float().cpu()
        maps = result.maps.detach().float().cpu()
        explanations = []
        for row, (example, classes) in enumerate(zip(examples, targets, strict=True)):
            scores = side_scores(logits[row]) if sides else _probabilities(logits[row], example.exclusive)
            own = maps[row, : len(classes)]
            if not own.isfinite().all():
                raise ValueError(
                    f"the maps of image {example.key!r} hold NaN or infinity; its logits are {logits[row].tolist()[:8]}"
                )
            chosen = tuple(float(scores[c]) for c in classes)
            explanations.append(Explanation(example, tuple(classes), own, chosen, len(scores), sides))
        return explanations

    def look_at(self, network: nn.Module, image: Tensor) -> None:
        """See how many logits the network has: it is run once.

        Args:
            network: returns logits.
            image: `(1, C, H, W)` on the network's device.
        """
        if self._width is None:
            self._width = _logits(network, image, self.options.get("output")).shape[1]

    @property
    def two_sided(self) -> bool:
        """Whether the network has one logit, whose sign tells two classes apart."""
        return self._width == 1 and bool(self.options.get("binary", True))

    def forget(self) -> None:
        """Another network comes."""
        self._width = None

    def targets(self, network: nn.Module, images: Tensor, examples: Sequence[Example]) -> list[list[int]]:
        """Classes to explain of each example, after `look_at`.

        Raises:
            ValueError: `target="label"` and images without labels.
        """
        if self.target == "predicted":
            if self.two_sided:
                logits = _logits(network, images, self.options.get("output"))
                return [[int(logit > 0)] for logit in logits[:, 0].tolist()]
            return predicted_classes(network, images, examples, self.options.get("output"))
        if self.target == "label":
            bare = [e.key for e in examples if not e.labels]
            if bare:
                raise ValueError(
                    f"target='label', but image {bare[0]!r} has none; use target='predicted' or give batch_adapter="
                )
            return [list(e.labels or ()) for e in examples]
        fixed = [self.target] if isinstance(self.target, int) else [int(t) for t in self.target]
        return [list(fixed) for _ in examples]

    def attribute(self, network: nn.Module, images: Tensor, targets: list[list[int]]) -> Any:
        """Call the engine; when memory runs out, halve the rows it carries at a time and try again."""
        rows = sum(len(t) for t in targets)
        while True:
            try:
                return self.function(network, images, targets, method=self.method, **self.options)
            except torch.OutOfMemoryError:
                chunk = min(self.options.get("chunk") or rows, rows) // 2
                if chunk < 1:
                    raise
            # Outside the handler, where the exception no longer holds the tensors that filled the memory.
            self.options["chunk"] = chunk
            if images.is_cuda:
                torch.cuda.empty_cache()


def predicted_classes(
    network: nn.Module, images: Tensor, examples: Sequence[Example], output: OutputKey = None
) -> list[list[int]]:
    """The likeliest class of each image; for multi-label data also every class with a probability above one half.

    Args:
        network: returns logits.
        images: `(N, C, H, W)` on the network's device.
        examples: the same images, which say whether classes exclude each other.
        output: which of several outputs holds the logits.
    """
    logits = _logits(network, images, output).float().cpu()
    above = [{int(row.argmax()), *(row > 0).nonzero().flatten().tolist()} for row in logits]
    return [
        [int(row.argmax())] if example.exclusive else sorted(classes)
        for row, classes, example in zip(logits, above, examples, strict=True)
    ]


def _logits(network: nn.Module, images: Tensor, output: OutputKey) -> Tensor:
    with explaining(network):
        with calling(network):
            returned = network(images)
        return select_logits(returned, len(images), output)


def _probabilities(logits: Tensor, exclusive: bool) -> Tensor:
    return logits.softmax(0) if exclusive and len(logits) > 1 else logits.sigmoid()


def explain_each(
    explainer: Explainer, network: nn.Module, examples: Sequence[Example], device: torch.device
) -> tuple[list[Explanation], list[Failure]]:
    """Explain examples of one shape together; where that fails, each alone, so that one costs its own panel only.

    Args:
        explainer: explains.
        network: is explained.
        examples: with images of one shape.
        device: of the network.

    Returns:
        The explanations, and the examples that have none with their errors.
    """
    try:
        return explainer(network, examples, device), []
    except Exception as error:
        if len(examples) == 1:
            return [], [(examples[0], error)]
    explanations: list[Explanation] = []
    failures: list[Failure] = []
    for example in examples:
        alone, failed = explain_each(explainer, network, [example], device)
        explanations, failures = explanations + alone, failures + failed
    return explanations, failures


def explain_in_time(
    explainer: Explainer,
    network: nn.Module,
    examples: Sequence[Example],
    device: torch.device,
    budget: TimeBudget,
    failed: Callable[[Example, Exception], None],
) -> Iterator[Explanation]:
    """Explain as many of the examples as the time budget allows, in order and at least one, by groups of one shape.

    Args:
        explainer: explains.
        network: is explained.
        examples: to explain.
        device: of the network.
        budget: says how many fit.
        failed: is told at the end which images failed and how.

    Raises:
        Exception: what the first image raised, if none could be explained.
    """
    done = explained = 0
    failures: list[Failure] = []
    while done < len(examples):
        count = max(budget.fits(len(examples) - done), 0 if explained else 1)
        if count < 1:
            break
        shape = examples[done].image.shape
        group = list(takewhile(lambda e: e.image.shape == shape, examples[done : done + count]))  # noqa: B023
        begin = budget.clock()
        explanations, failed_now = explain_each(explainer, network, group, device)
        budget.explained(len(group), budget.clock() - begin)
        yield from explanations
        done += len(group)
        explained += len(explanations)
        failures += failed_now
    if failures and not explained:
        raise failures[0][1]
    for example, error in failures:
        failed(example, error)


def checked_options(method: str, gamma: float, layer: str | None, further: dict[str, Any] | None) -> dict[str, Any]:
    """Options of `attribute`, checked now: a wrong one should not wait for the first validation.

    Args:
        method: name of the attribution method.
        gamma: of method `hedge`.
        layer: where the initial map is taken.
        further: all others.

    Raises:
        ValueError: an unknown method or option.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is unknown; the methods are {', '.join(METHODS)}")
    if method != "hedge" and gamma != 1.0:
        raise ValueError(f"gamma={gamma} is an option of method 'hedge', not of {method!r}; leave it out")
    options = {**({"gamma": gamma} if method == "hedge" else {}), **(further or {})}
    METHODS[method].with_defaults({k: v for k, v in options.items() if k not in ("chunk", "output", "binary")})
    return {"layer": layer, **options}
