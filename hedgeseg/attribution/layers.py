"""Which layers the initial map is taken from: the user's, those of five families, or the last feature maps."""

from __future__ import annotations

from collections.abc import Sequence

from hedgeseg.attribution.last_maps import find_last_maps
from hedgeseg.attribution.layer_names import find_value
from hedgeseg.attribution.nodes import Value
from hedgeseg.attribution.recording import Recording


def find_layers(recording: Recording, by_user: Sequence[str], by_family: str | None) -> dict[str, Value]:
    """The layers to start from, by name: the user's choice, else that of the family, else the last feature maps.

    A family's layer is taken where all that the logits know of the images passed it: not in a network that pools other
    maps as well.

    Raises:
        LayerError: If a chosen layer is no feature map, or none was found.
    """
    if by_user:
        found = {path: find_value(recording, path) for path in by_user}
        return {path: value for i, (path, value) in enumerate(found.items()) if value not in list(found.values())[:i]}
    if by_family is not None and recording.tape.outputs_of.get(by_family, [None])[-1] is not None:
        value = find_value(recording, by_family)
        if all_pass(recording, value):
            return {by_family: value}
    return find_last_maps(recording)


def all_pass(recording: Recording, layer: Value) -> bool:
    """Whether every path from the images to the logits passes a layer."""
    seen, todo = {layer}, [recording.logits_value]
    while todo:
        value = todo.pop()
        if value in seen:
            continue
        if value.producer is None:
            return False
        seen.add(value)
        todo.extend(value.producer.inputs)
    return True
