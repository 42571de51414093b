"""Where class maps come from: a named attribution method with its options, or any function that makes maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hedgeseg.attribution import attribute
from hedgeseg.seeds.file_maps import PREFIX, FileMaps

MapFunction = Callable[[nn.Module, Tensor, list[list[int]]], Tensor]
"""(model, images (N, C, H, W), N lists of T classes) -> maps (N, T, h, w), signed or not."""

SEED_OPTIONS: Mapping[str, Mapping[str, Any]] = {"hedge": {"gamma": 2.0}}
"""Options that make better seeds than a method's own defaults: a larger gamma lights up more of the object."""


class MapSource:
    """An attribution method by name, with the options that go to `hedgeseg.attribution.attribute`.

    Args:
        method: a name of `hedgeseg.attribution.METHODS`.
        **options: options of `attribute` (`layer`, `chunk`, `output`) and of the method. For seeds, `hedge` runs
            with `gamma=2.0` unless told otherwise. A network's only logit is that of class 0, which may be absent,
            unless `binary=True` says that it tells class 1 from class 0.
    """

    def __init__(self, method: str, **options: Any) -> None:
        self.method = method
        self.options = {**SEED_OPTIONS.get(method, {}), **options}

    def __call__(self, model: nn.Module, images: Tensor, targets: list[list[int]]) -> Tensor:
        """Signed maps (N, T, H, W) of every target of every image, in one call of the engine."""
        return self.explain(model, images, targets)[0]

    def explain(self, model: nn.Module, images: Tensor, targets: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Signed maps (N, T, H, W) and the logits (N, classes) they explain."""
        result = attribute(model, images, targets, method=self.method, **{"binary": False, **self.options})
        return result.maps, result.logits

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"MapSource({self.method!r}{options})"


def as_sources(
    method: str | MapFunction | Sequence[str | MapFunction], options: Mapping[str, Any]
) -> tuple[MapFunction, ...]:
    """Map functions from what a user names.

    Args:
        method: a method's name, `files:DIR`, a function that makes maps, or several of these to be fused.
        options: for one method, its options; for several, `{method name: its options}`.

    Raises:
        TypeError: options that fit no method, or a method that is neither a name nor a function.
    """
    if isinstance(method, str) or not isinstance(method, Sequence):
        return (_source(method, options),)
    if not method:
        raise TypeError("method names no attribution method; give one such as 'hedge'")
    wrong = [key for key in options if key not in method or not isinstance(options[key], Mapping)]
    if wrong:
        raise TypeError(f"with several methods, options go to each by name, as in hedge={{'gamma': 2.0}}; got {wrong}")
    return tuple(_source(one, options.get(one, {}) if isinstance(one, str) else {}) for one in method)


def checked_maps(source: MapFunction, model: nn.Module, images: Tensor, classes: list[list[int]]) -> Tensor:
    """Maps of equally many classes for each image of a batch, checked.

    Args:
        source: makes the maps.
        model: is explained.
        images: float (N, C, H, W).
        classes: N lists of K classes.

    Returns:
        float (N, K, h, w).

    Raises:
        ValueError: maps of an unexpected shape, or with values that are not finite.
    """
    maps = source(model, images, classes).detach()
    expected = (len(images), len(classes[0]))
    if maps.ndim != 4 or tuple(maps.shape[:2]) != expected:
        raise ValueError(f"{source!r} must return maps (N, T, H, W) with N, T = {expected}, got {tuple(maps.shape)}")
    finite = torch.isfinite(maps).flatten(2).all(2).tolist()
    broken = sorted(
        {
            c
            for row, fine in zip(classes, finite, strict=True)
            for c, is_fine in zip(row, fine, strict=True)
            if not is_fine
        }
    )
    if broken:
        raise ValueError(
            f"{source!r} returned NaN or infinite values for classes {broken}; check the image and weights"
        )
    return maps.float()


def _source(method: str | MapFunction, options: Mapping[str, Any]) -> MapFunction:
    if isinstance(method, str) and method.startswith(PREFIX):
        return FileMaps(method.removeprefix(PREFIX), **options)
    if isinstance(method, str):
        return MapSource(method, **options)
    if not callable(method):
        raise TypeError(f"method must be a method's name or a function that makes maps, got {method!r}")
    if options:
        raise TypeError(f"options {sorted(options)} have nowhere to go: {method!r} is a function, bind them to it")
    return method
