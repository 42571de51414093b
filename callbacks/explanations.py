"""From examples to explanations: targets chosen, maps made, memory running out survived."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hedgeseg.attribution import attribute
from hedgeseg.attribution.explaining import explaining
from hedgeseg.attribution.recording import OutputKey, select_logits
from hedgeseg.callbacks.batches import Example
from hedgeseg.callbacks.budget import TimeBudget

Target = Literal["label", "predicted"] | int | list[int]


@dataclass(frozen=True, eq=False)
class Explanation:
    """The maps of one example.

    Attributes:
        example: the image.
        classes: class index of each map.
        maps: float32 `(T, H, W)` on the CPU, signed.
        scores: probability of each class, softmax or sigmoid.
        num_classes: of the network.
    """

    example: Example
    classes: tuple[int, ...]
    maps: Tensor
    scores: tuple[float, ...]
    num_classes: int


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

    def wants(self, example: Example) -> bool:
        """Whether there is a class to explain this image for: with `target="label"`, an image must have a label."""
        return self.target != "label" or example.labels is None or bool(example.labels)

    def __call__(self, network: nn.Module, examples: Sequence[Example], device: torch.device) -> list[Explanation]:
        """Explain examples whose images have one shape.

        Raises:
            ValueError: `target="label"` and images without labels.
        """
        images = torch.stack([e.image for e in examples]).to(device)
        targets = self._targets(network, images, examples)
        result = self.attribute(network, images, targets)
        logits = result.logits.detach().float().cpu()
        maps = result.maps.detach().float().cpu()
        explanations = []
        for row, (example, classes) in enumerate(zip(examples, targets, strict=True)):
            scores = logits[row].softmax(0) if example.exclusive and logits.shape[1] > 1 else logits[row].sigmoid()
            own = maps[row, : len(classes)]
            if not own.isfinite().all():
                raise ValueError(
                    f"the maps of image {example.key!r} hold NaN or infinity; its logits are {logits[row].tolist()[:8]}"
                )
            chosen = tuple(float(scores[c]) for c in classes)
            explanations.append(Explanation(example, tuple(classes), own, chosen, logits.shape[1]))
        return explanations

    def _targets(self, network: nn.Module, images: Tensor, examples: Sequence[Example]) -> list[list[int]]:
        if self.target == "predicted":
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
    with explaining(network):
        logits = select_logits(network(images), len(images), output).float().cpu()
    above = [{int(row.argmax()), *(row > 0).nonzero().flatten().tolist()} for row in logits]
    return [
        [int(row.argmax())] if example.exclusive else sorted(classes)
        for row, classes, example in zip(logits, above, examples, strict=True)
    ]


def explain_in_time(
    explainer: Explainer, network: nn.Module, examples: Sequence[Example], device: torch.device, budget: TimeBudget
) -> Iterator[Explanation]:
    """Explain as many of the examples as the time budget allows, in order and at least one, by groups of one shape."""
    done = 0
    while done < len(examples):
        count = max(budget.fits(len(examples) - done), 1 - done)
        if count < 1:
            return
        shape = examples[done].image.shape
        group = list(takewhile(lambda e: e.image.shape == shape, examples[done : done + count]))  # noqa: B023
        begin = budget.clock()
        explanations = explainer(network, group, device)
        budget.explained(len(group), budget.clock() - begin)
        yield from explanations
        done += len(group)
