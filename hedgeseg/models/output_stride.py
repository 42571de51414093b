"""A finer last feature map from trained weights: strides taken out of the last stages, their kernels dilated instead.

Every place of the old map is a place of the new one, with the same features: a stride of 2 that becomes 1 computes the
places between as well, and kernels behind it, dilated by 2, still read the places that they read before. (Poolings that
round up, SqueezeNet's, look beyond the picture at some sizes: there the last places differ.) (Chen et al.
2015, "DeepLab", call it the hole algorithm; IRN explains a ResNet-50 at a stride of 16.)
"""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import torch
from torch import nn

_TRIAL = 257  # pixels of a side; odd, so that strides of two end at the last pixel


def with_output_stride(network: nn.Module, output_stride: int) -> nn.Module:
    """A copy of a network whose feature maps have at most this stride; the network itself stays as it is.

    Logits change where the head does more than average over places.

    Args:
        network: convolutional, of images with three channels; parameters keep their names and shapes.
        output_stride: 4, 8 or 16.

    Raises:
        ValueError: another stride, or a network whose strides are not those of modules of 2-D convolutions and
            max-poolings by two, such as a transformer, Inception's pooling functions, DenseNet's average pooling.

    Example:
        >>> from torchvision.models import resnet18
        >>> finer = with_output_stride(resnet18(), 16)
        >>> finer.layer4[0].conv1.stride, finer.layer4[0].conv2.dilation
        ((1, 1), (2, 2))
    """
    if output_stride not in (4, 8, 16):
        raise ValueError(f"output_stride is 4, 8 or 16, got {output_stride}")
    finer = deepcopy(network)
    for name, module, before in _strides(finer):
        _refit(name, module, before, output_stride)
    coarsest = max((stride for _, _, stride in _strides(finer)), default=1)
    if coarsest > output_stride:
        raise ValueError(
            f"{type(network).__name__} still has maps at a stride of {coarsest}: some of its strides are no module of "
            "its own, so that they cannot be taken out; leave output_stride out"
        )
    return finer


def _refit(name: str, module: Any, before: int, output_stride: int) -> None:
    """Change one module that reads a map of stride `before`."""
    own = _pair(module.stride)[0]
    widened = max(1, before // output_stride)
    after = min(before * own, output_stride)
    stride = after // min(before, output_stride)
    if widened == 1 and stride == own:
        return
    kernel = _pair(module.kernel_size)
    if (own not in (1, 2) and stride != own) or isinstance(module, nn.AvgPool2d | nn.LPPool2d):
        raise ValueError(
            f"{name or type(module).__name__} ({type(module).__name__}, stride {own}) cannot be dilated: only strides "
            "of 2 of convolutions and max-poolings can be taken out"
        )
    module.stride = _like(module.stride, stride)
    if max(kernel) > 1:
        module.dilation = _like(module.dilation, _pair(module.dilation)[0] * widened)
        if not isinstance(module.padding, str) and not hasattr(module, "dynamic"):
            module.padding = tuple(side * widened for side in _pair(module.padding))


def _strides(network: nn.Module) -> list[tuple[str, nn.Module, int]]:
    """Every convolution and pooling over places with the stride of the map that it reads, told by a trial run."""
    found: list[tuple[str, nn.Module, int]] = []
    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d | nn.LPPool2d):

            def report(module: nn.Module, inputs: tuple[torch.Tensor, ...], name: str = name) -> None:
                side = inputs[0].shape[-1]
                if side > 1 and all(
                    module is not other for _, other, _ in found
                ):  # 1: behind the pooling of all places
                    found.append((name, module, 2 ** max(0, round(math.log2(_TRIAL / side)))))

            hooks.append(module.register_forward_pre_hook(report))
    modes = {module: module.training for module in network.modules()}
    try:
        network.eval()
        with torch.no_grad():
            network(torch.zeros(1, 3, _TRIAL, _TRIAL))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ValueError(
            f"{type(network).__name__} takes no images of {_TRIAL} pixels, so its strides cannot be changed: {error}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    return found


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _like(old: int | tuple[int, ...], value: int) -> int | tuple[int, int]:
    return value if isinstance(old, int) else (value, value)
