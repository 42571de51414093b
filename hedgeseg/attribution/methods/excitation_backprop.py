"""Excitation backpropagation: where a top-down walk from the class arrives (Zhang et al. 2016, IJCV 2018).

r = attribute(model, images, targets, method="excitation_backprop", layer="layer3")
"""

from __future__ import annotations

from torch import Tensor, nn

from hedgeseg.attribution.families import family_layer
from hedgeseg.attribution.feature_map import channels_first
from hedgeseg.attribution.layer_names import AND, clean
from hedgeseg.attribution.methods.from_logits import one_hot, propagate_between, record_with_layers
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.nodes import Value
from hedgeseg.attribution.projection import Projection
from hedgeseg.attribution.recording import Recording
from hedgeseg.attribution.rules.excitation import excitation_rules
from hedgeseg.attribution.rules.rule import RuleBook


def explain(problem: Problem) -> Explanation:
    """Excitation backpropagation (Eq. 3-4) from the target to a hidden layer, summed over its channels and resized.

    Args:
        problem: What is to be explained. Its layer is by default the one of the published benchmark: ``layer3`` in a
            ResNet, the last pooling but one in a VGG, else the last feature map.

    Returns:
        Maps >= 0 in a network of ReLUs, whose sum at the layer is 1: the probability that the walk passes there. Cost:
        one forward pass, and per target two convolutions for each layer behind the chosen one.
    """
    book = RuleBook("excitation_backprop", excitation_rules())
    recording, layers = record_with_layers(problem, book, default_layer(problem.model))
    maps = walk(problem, recording, book, list(layers.values()))
    return Explanation(maps, recording.logits, AND.join(layers))


def walk(problem: Problem, recording: Recording, book: RuleBook, layers: list[Value], relu: bool = False) -> Tensor:
    """From the targets to the layers, summed over channels, at the images' grid: (T, N, *space)."""
    start = {recording.class_logits_value: one_hot(problem, recording)}
    passed = propagate_between(problem, recording, book, start, layers)
    maps = [channels_first(recording.tape, layer, r).sum(2) for layer, r in zip(layers, passed, strict=True)]
    projection = Projection(recording.tape, book.method)
    brought = [
        projection.to_images(layer, m.clamp(min=0) if relu else m) for layer, m in zip(layers, maps, strict=True)
    ]
    return sum(brought[1:], brought[0])


def default_layer(model: nn.Module) -> str | None:
    """The layer of the authors' benchmark: ``layer3`` of a ResNet, the last pooling but one of a VGG."""
    last = family_layer(model)
    if last is None:
        return None
    modules = {clean(path): module for path, module in model.named_modules()}
    if last.split(".")[-1] == "layer4":
        return last[: -len("layer4")] + "layer3"
    prefix, _, name = last.rpartition(".")
    if name.isdecimal():
        inside = [path for path in modules if path.rpartition(".")[0] == prefix]
        pools = [path for path in inside if isinstance(modules[path], nn.MaxPool2d)]
        before = [path for path in pools if inside.index(path) < inside.index(last)]
        return before[-1] if before else last
    return last


METHOD = Method(
    "excitation_backprop",
    "Excitation backpropagation (Zhang et al. 2016): winning probability at a hidden layer, resized",
    explain,
    signed=False,
    cost="1 forward, then 2 convolutions a layer behind the chosen one per target",
)
