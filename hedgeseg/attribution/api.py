"""The one call for every attribution method.

    from hedgeseg import attribute
    r = attribute(model, images, targets, method="hedge", gamma=1.0)
    r.maps        # (N, T, H, W), signed

Nothing about the model changes: not its mode, parameters, gradients, buffers or hooks, nor the random state.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hedgeseg.attribution.errors import NonFiniteError, UnsupportedOpError
from hedgeseg.attribution.explaining import explaining
from hedgeseg.attribution.families import family_layer
from hedgeseg.attribution.inputs import Targets, check_images, target_lists
from hedgeseg.attribution.layer_names import AND, LayerLike, paths_of
from hedgeseg.attribution.layers import find_layers
from hedgeseg.attribution.methods import METHODS
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.nodes import Keeps
from hedgeseg.attribution.one_by_one import explain_safely
from hedgeseg.attribution.recording import OutputKey, record, refuse_opaque, select_logits
from hedgeseg.attribution.sweep import Conservation


@dataclass(frozen=True)
class Attribution:
    """The result of `attribute`.

    Attributes:
        maps: float32 (float64 for a float64 model), (N, T, H, W), signed, channel-summed, at the images' resolution;
            rows past a ragged image's targets are NaN.
        logits: (N, K), as the model returned them; (N, 1) of a network with one logit.
        targets: int64 (N, T); -1 past a ragged image's targets.
        layer: The layer that was used, such as "features.29", or several, "branch_a + branch_b"; "" where the method
            uses none. May be given as `layer` again.
        method: The method's name.
        options: All options of the method, defaults included.
    """

    maps: Tensor
    logits: Tensor
    targets: Tensor
    layer: str
    method: str
    options: dict[str, Any]


def attribute(
    model: nn.Module,
    images: Tensor,
    targets: Targets,
    method: str | Method = "hedge",
    layer: LayerLike = None,
    chunk: int | None = None,
    output: OutputKey = None,
    binary: bool = True,
    **options: Any,
) -> Attribution:
    """Explain a classifier's logits by maps over the pixels.

    Each image is sent through the model once (by the propagation methods), with all its targets; the result for an
    image does not depend on its batch. May be called from anywhere: under `torch.no_grad`, `torch.inference_mode` or
    autocast, with the model in training mode, compiled or wrapped in DDP, in the middle of gradient accumulation.

    Args:
        model: A classifier that returns logits (N, K), or (N,) for one logit. Evaluated in evaluation mode.
        images: Float (N, C, H, W), normalised as the model was trained; (N, C, L) and (N, C, D, H, W) for networks of
            1-D and 3-D convolutions.
        targets: Class indices: int (N,) or (N, T), or a list of N lists (ragged).
        method: A key of `METHODS`, or a method of your own.
        layer: Where the initial map is taken from: a module's path or the module itself, or a list of several, which
            are explained together. Default: see `resolve_layer`.
        chunk: At most this many maps (targets times images) are in memory at once.
        output: Index, key or attribute of the logits, where the model returns several outputs.
        binary: What one logit z, (N, 1) or (N,), means. True: it tells two classes apart, as a network trained with
            labels 0 and 1 does; target 1 is explained by z, target 0 by -z. False: it scores a single class, which may
            be absent; target 0 is explained by z, and there is no target 1. Of no account with several logits.
        **options: The method's options; for "hedge": gamma, variant, residual, precision, stages.

    Returns:
        Maps, logits and how they were made.

    Raises:
        ValueError: If an argument is wrong; says which, its value and what to give instead.
        TypeError: If an argument has a wrong type, or the model is scripted or quantised.
        NonFiniteError: If weights or activations are NaN or infinite; names the images and the first operation.
        UnsupportedOpError: If the method has no rule for an operation of the model.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
        >>> r = attribute(model, torch.randn(2, 3, 8, 8), [[0, 2], [1]], gamma=2.0)
        >>> r.maps.shape, r.layer, r.targets.tolist()
        (torch.Size([2, 2, 8, 8]), '1', [[0, 2], [1, -1]])
    """
    return _run(model, images, targets, method, layer, chunk, output, binary, options, None)


def conservation(
    model: nn.Module,
    images: Tensor,
    targets: Targets,
    method: str | Method = "hedge",
    layer: LayerLike = None,
    output: OutputKey = None,
    binary: bool = True,
    **options: Any,
) -> list[Conservation]:
    """Where relevance goes: for every operation that a method propagates through, what arrived and what left.

    Args:
        model: See `attribute`.
        images: See `attribute`.
        targets: See `attribute`; every image needs equally many.
        method: A method that propagates relevance, such as "hedge" or "lrp_epsilon".
        layer: See `attribute`.
        output: See `attribute`.
        binary: See `attribute`.
        **options: The method's options.

    Returns:
        One entry per operation, from the layer (or the logits) to the images; empty for a method that does not
        propagate.

    Raises:
        ValueError: As `attribute`, and for ragged targets.
    """
    if len({len(row) for row in target_lists(targets, len(images))}) > 1:
        raise ValueError("targets is ragged; the report needs equally many targets for every image")
    report: list[Conservation] = []
    _run(model, images, targets, method, layer, None, output, binary, options, report)
    return report


def resolve_layer(model: nn.Module, images: Tensor, layer: LayerLike = None, output: OutputKey = None) -> str:
    """The layer that `attribute` takes the initial map from.

    VGG: the ReLU after the last convolution; AlexNet and DenseNet: ``features``; ResNet, ResNeXt, WideResNet:
    ``layer4``; Inception-v3: ``Mixed_7c``, also where such a network is an attribute of the model. For any other
    network the feature map that enters the last spatial pooling, mean or flattening is found by recording one image:
    all of them where several do so apart from each other, as in late fusion and pooling of several scales.

    Args:
        model: A classifier.
        images: (N, C, H, W); only the first two are used.
        layer: A choice to check, by path or as the module, or several.
        output: See `attribute`.

    Returns:
        A module path, without the segments of compilation or DDP; ``path#k`` for the k-th run of a module that ran
        again later; ``aten.<op>:<k>`` (the output of the k-th call of that operation) where no module returns the map.
        Several are joined by " + ".

    Raises:
        LayerError: If the layer does not exist, did not run or is no feature map, or none was found.

    Example:
        >>> from torchvision.models import resnet18
        >>> resolve_layer(resnet18(), torch.randn(1, 3, 64, 64))
        'layer4'
    """
    network = unwrap(model)
    refuse_opaque(network)
    check_images(network, images)
    paths = paths_of(network, layer)
    with explaining(network):
        images = images[:2].detach().clone() if images.is_inference() else images[:2].detach()
        recording = record(network, images, lambda op: Keeps(), frozenset(), output)
        return AND.join(find_layers(recording, paths, family_layer(network)))


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside `DistributedDataParallel`, `DataParallel` and `torch.compile` wrappers.

    Raises:
        TypeError: If it is no module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is {type(model).__name__}; expected a torch.nn.Module")
    wrappers = (nn.parallel.DistributedDataParallel, nn.DataParallel)
    while True:
        if isinstance(model, wrappers):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model


def _run(
    model: nn.Module,
    images: Tensor,
    targets: Targets,
    method: str | Method,
    layer: LayerLike,
    chunk: int | None,
    output: OutputKey,
    binary: bool,
    options: dict[str, Any],
    report: list[Conservation] | None,
) -> Attribution:
    chosen = _method(method)
    options = chosen.with_defaults(options)
    if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
        raise ValueError(f"chunk={chunk!r}: must be a positive integer, or None for no limit")
    network = unwrap(model)
    refuse_opaque(network)
    check_images(network, images)
    lists = target_lists(targets, len(images))
    paths = paths_of(network, layer)
    with explaining(network):
        images = images.detach().clone() if images.is_inference() else images.detach()
        parts, remarks = [], set[str]()
        for group, rows in _groups(lists, chunk, images.device):
            problem = Problem(network, images[group], rows, paths, output, binary, chunk, report, remarks)
            try:
                parts.append((group, rows, _explain(chosen, problem, options)))
            except NonFiniteError as error:
                raise error.renamed(group.tolist()) from None
            except UnsupportedOpError as error:
                raise UnsupportedOpError(" Note that ".join([str(error), *sorted(remarks)])) from error
    for remark in sorted(remarks):
        warnings.warn(remark, UserWarning, stacklevel=3)
    return _gather(parts, (len(lists), max(map(len, lists), default=0)), chosen.name, options)


def _method(name: str | Method) -> Method:
    if isinstance(name, Method):
        return name
    if name not in METHODS:
        near = difflib.get_close_matches(str(name), METHODS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"method={name!r} is unknown.{hint} Methods: {', '.join(METHODS)}")
    return METHODS[name]


def _groups(lists: list[list[int]], chunk: int | None, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Images to explain together, and their targets (n, T).

    Images of one group have equally many targets, so that no map is computed in vain; a group's maps fit `chunk` as
    far as whole images allow (the targets of one image are divided further by the methods).
    """
    by_count: dict[int, list[int]] = {}
    for i, row in enumerate(lists):
        by_count.setdefault(len(row), []).append(i)
    for number, members in by_count.items():
        step = len(members) if chunk is None else max(1, chunk // max(1, number))
        for start in range(0, len(members), step):
            group = members[start : start + step]
            rows = torch.tensor([lists[i] for i in group], dtype=torch.int64, device=device).view(len(group), number)
            yield torch.tensor(group, device=device), rows


def _explain(method: Method, problem: Problem, options: dict[str, Any]) -> Explanation:
    if problem.targets.shape[1]:
        return explain_safely(method, problem, options)
    logits = select_logits(problem.model(problem.images.clone()), len(problem.images), problem.output)
    return Explanation(problem.images.new_empty(0, *problem.images[:, 0].shape, dtype=problem.dtype), logits)


def _gather(
    parts: list[tuple[Tensor, Tensor, Explanation]], size: tuple[int, int], method: str, options: dict[str, Any]
) -> Attribution:
    """Images in their order, (N, T) in all, from the groups they were explained in."""
    first = max((part for _, _, part in parts), key=lambda part: len(part.maps))
    maps = first.maps.new_full((*size, *first.maps.shape[2:]), float("nan"))
    logits = first.logits.new_empty(size[0], first.logits.shape[1])
    targets = torch.full(size, -1, dtype=torch.int64, device=maps.device)
    for group, rows, part in parts:
        maps[group, : len(part.maps)] = part.maps.transpose(0, 1)
        logits[group] = part.logits
        targets[group, : len(part.maps)] = rows
    return Attribution(maps, logits, targets, first.layer, method, options)
