"""Contrastive excitation backpropagation: the class's walk against that of its opposite (Zhang et al. 2016).

r = attribute(model, images, targets, method="contrastive_excitation_backprop", relu=False)
"""

from __future__ import annotations

from dataclasses import replace

from hedgeseg.attribution.layer_names import AND
from hedgeseg.attribution.methods.excitation_backprop import default_layer, walk
from hedgeseg.attribution.methods.from_logits import classifiers, record_with_layers
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.rules.excitation import contrast, excitation_rules
from hedgeseg.attribution.rules.layered import on_layer, plain
from hedgeseg.attribution.rules.rule import RuleBook


def explain(problem: Problem, relu: bool = True) -> Explanation:
    """Excitation backpropagation of the target minus that of a unit with its negated weights (Eq. 7).

    The difference is taken at the input of the last layer with weights and walks on, signed, to the hidden layer.

    Args:
        problem: What is to be explained; its layer is chosen as for ``excitation_backprop``.
        relu: Whether to drop negative values before resizing, as the paper does. Without it the map also shows what
            speaks for the opposite.

    Returns:
        Maps, differences of probabilities: positive where the walk from the class arrives more often than that from
        its opposite. Without `relu` their sum at the layer is 0, wherever the target has weights of both signs. Cost:
        as ``excitation_backprop``.
    """
    book = RuleBook("contrastive_excitation_backprop", excitation_rules())
    recording, layers = record_with_layers(problem, book, default_layer(problem.model))
    book = replace(book, special=dict.fromkeys(classifiers(recording), on_layer(plain(contrast))))
    maps = walk(problem, recording, book, list(layers.values()), relu)
    return Explanation(maps, recording.logits, AND.join(layers))


METHOD = Method(
    "contrastive_excitation_backprop",
    "Contrastive excitation backpropagation (Zhang et al. 2016): the class's walk against its opposite's, resized",
    explain,
    signed=True,
    cost="1 forward, then 2 convolutions a layer behind the chosen one per target",
)
