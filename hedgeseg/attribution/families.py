"""The layer that the authors of hedging use, in the five families of networks that they explain."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from hedgeseg.attribution.layer_names import clean


def _relu_after_last_conv(features: nn.Module) -> str:
    children = list(features.named_children())
    last = max(i for i, (_, child) in enumerate(children) if isinstance(child, nn.Conv2d))
    return next(name for name, child in children[last:] if isinstance(child, nn.ReLU))


# Class name to the path of the layer below a module of that class.
FAMILIES: dict[str, Callable[[nn.Module], str]] = {
    "VGG": lambda m: "features." + _relu_after_last_conv(m.get_submodule("features")),
    "AlexNet": lambda m: "features",
    "ResNet": lambda m: "layer4",
    "DenseNet": lambda m: "features",
    "Inception3": lambda m: "Mixed_7c",
}


def family_layer(model: nn.Module) -> str | None:
    """The layer that the method's authors use, where the model is or holds exactly one network of a known family."""
    found = []
    for path, module in model.named_modules():
        families = [FAMILIES[c.__name__] for c in type(module).__mro__ if c.__name__ in FAMILIES]
        if families:
            try:
                relative = families[0](module)
                module.get_submodule(relative)
            except (AttributeError, StopIteration, ValueError):
                continue  # a class of the same name that is built otherwise
            found.append(clean(f"{path}.{relative}" if path else relative))
    return found[0] if len(found) == 1 else None
