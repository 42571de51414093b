"""What the methods that see a model only from outside share: its forward pass, as a function of images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hedgeseg.attribution.coupling import refuse_coupling
from hedgeseg.attribution.errors import UnsupportedModelError
from hedgeseg.attribution.explaining import full_precision
from hedgeseg.attribution.finite import refuse_non_finite
from hedgeseg.attribution.inputs import check_targets
from hedgeseg.attribution.layer_names import AND
from hedgeseg.attribution.methods.method import Explanation, Problem
from hedgeseg.attribution.one_logit import two_sides
from hedgeseg.attribution.recording import select_logits
from hedgeseg.attribution.remarks import batch_statistics, probabilities
from hedgeseg.attribution.watch import Watch

Forward = Callable[[Tensor], Tensor]
ExplainOne = Callable[[Tensor, Tensor], Tensor]

# Perturbation methods run thousands of rows per image: without a limit of the caller's, this many at a time.
DEFAULT_ROWS = 32


def rows_at_once(problem: Problem) -> int:
    """How many perturbed images are run together: the caller's `chunk`, or 32."""
    return DEFAULT_ROWS if problem.rows is None else problem.rows


def logits_of(problem: Problem) -> Forward:
    """The model as a function from images to one logit for each target, see `returned_by`."""
    forward = returned_by(problem)
    return lambda images: per_target(problem, forward(images))


def per_target(problem: Problem, logits: Tensor) -> Tensor:
    """Logits (n, K) as the model returned them; of a binary network with one logit z, ``(-z, z)``."""
    return two_sides(logits) if problem.binary and logits.shape[1] == 1 else logits


def returned_by(problem: Problem) -> Forward:
    """The model as a function from images to logits.

    Args:
        problem: Whose model is run.

    Returns:
        A function from (n, C, *space) to (n, K), differentiable with respect to the images where gradients are on. It
        hands the model a copy, so that one that writes into its input changes nothing of the caller's. The model runs
        under the autocast that is on now, whatever is on when the function is called: a method's own arithmetic is
        done in full precision around it.
    """
    model, device = problem.model, problem.images.device.type
    mixed, half = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    # Autograd can't save a tensor that was born in inference mode; such weights are replaced by copies for the call.
    named = [*model.named_parameters(), *model.named_buffers()]
    copies = {name: tensor.detach().clone() for name, tensor in named if tensor.is_inference()}

    def forward(images: Tensor) -> Tensor:
        own = images.to(problem.images.dtype, copy=True)
        with torch.autocast(device, dtype=half, enabled=mixed):
            returned = torch.func.functional_call(model, copies, (own,)) if copies else model(own)
        return select_logits(returned, len(images), problem.output)

    return forward


def logits_to_explain(problem: Problem, images: Tensor) -> Tensor:
    """The logits of the batch, from a first forward pass in which everything is looked at.

    Args:
        problem: What is to be explained.
        images: Its images, or what stands for them in an autograd graph.

    Returns:
        As the model returns them, (N, K).

    Raises:
        NonFiniteError: If weights, activations or logits are NaN or infinite.
        UnsupportedModelError: If the model couples the images.
        TargetError: If a target is not a class of the model.
    """
    forward = returned_by(problem)
    with Watch() as watch:
        logits = forward(images)
    if watch.uses_batch:
        if len(images) > 1:
            raise UnsupportedModelError(f"{batch_statistics()}. Or give the images one per call")
        problem.remarks.add(batch_statistics())
    if (packet := watch.probabilities(logits)) is not None:
        problem.remarks.add(probabilities(packet))
    watch.suspicion.add([logits.detach()])
    if watch.suspicion.confirmed():
        refuse_non_finite(problem.model, problem.images, logits)
    check_targets(problem.targets.tolist(), per_target(problem, logits).shape[1])
    refuse_coupling(problem.model, forward, problem.images, logits.detach())
    return logits


def explain_each(problem: Problem, method: str, explain_one: ExplainOne) -> Explanation:
    """Explain one image after the other, so that none can depend on its batch, to the last bit.

    Args:
        problem: What is to be explained.
        method: The method's name, for errors.
        explain_one: From one image (1, C, *space) and its targets int64 (T,) with T > 0 to maps (T, *space).

    Returns:
        Maps in the dtype of the problem, and the logits of the batch: one forward pass besides the method's own.

    Raises:
        ValueError: If a layer was chosen, which such a method does not read.
        TargetError: If a target is not a class of the model.
    """
    refuse_layer(problem, method)
    logits = logits_to_explain(problem, problem.images)
    shape = (problem.targets.shape[1], len(problem.images), *problem.images.shape[2:])
    maps = problem.images.new_zeros(shape, dtype=problem.dtype)
    with full_precision(maps):
        for i, targets in enumerate(problem.targets):
            if len(targets):
                image = problem.images[i : i + 1]
                try:
                    maps[:, i] = explain_one(image, targets).to(problem.dtype)
                except RuntimeError as error:
                    refuse_cut_gradient(problem, image, error)
                    raise
    return Explanation(maps, logits)


def refuse_cut_gradient(problem: Problem, image: Tensor, error: RuntimeError | None = None) -> None:
    """Raise if no gradient of the logits reaches the image.

    Args:
        problem: What is to be explained.
        image: (n, C, *space).
        error: What came of it.

    Raises:
        UnsupportedModelError: If the model cuts the gradient.
    """
    with torch.enable_grad():
        leaf = image.detach().clone().requires_grad_()
        logits = returned_by(problem)(leaf)
        reached = logits.requires_grad and torch.autograd.grad(logits.sum(), leaf, allow_unused=True)[0] is not None
    if not reached:
        raise UnsupportedModelError(
            "no gradient of the logits reaches the images: the model runs a part of its forward under torch.no_grad, "
            "or detaches it. Leave that to the training loop (requires_grad_(False) on the weights), or take a method "
            "that propagates by rules, such as 'hedge', which does not need it"
        ) from error


def refuse_layer(problem: Problem, method: str) -> None:
    """Raise if a layer was chosen for a method that reads none.

    Raises:
        ValueError: Names the layer and the method.
    """
    if problem.layers:
        raise ValueError(
            f"layer={AND.join(problem.layers)!r}: method {method!r} explains the pixels and reads no layer; "
            "leave layer out"
        )


def check_positive(**options: float) -> None:
    """Raise unless every option is a positive number.

    Raises:
        ValueError: Names the option and its value.
    """
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise ValueError(f"{name}={value!r}: must be a positive number")
