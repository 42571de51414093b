"""One recorded forward pass of a model on a batch: the tape, the logits, and the head as a differentiable function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hedgeseg.attribution.errors import OutputError, UnsupportedModelError
from hedgeseg.attribution.finite import Suspicion, refuse_non_finite
from hedgeseg.attribution.nodes import Keeps, Op, Value
from hedgeseg.attribution.one_logit import sides_by_weights, two_sides
from hedgeseg.attribution.tape import Tape
from hedgeseg.attribution.tracing import trace_samples
from hedgeseg.attribution.tracing_rules import TRANSFERS

OutputKey = int | str | None


@dataclass(frozen=True)
class Recording:
    """A forward pass.

    Attributes:
        tape: The recorded operations.
        logits: Float tensor (N, K) as the model returned it.
        logits_value: Its node on the tape.
        class_logits: One logit for each target, (N, K); of a binary network with one logit z, ``(-z, z)``.
        class_logits_value: The node of `class_logits`, where what is explained begins.
    """

    tape: Tape
    logits: Tensor
    logits_value: Value
    class_logits: Tensor
    class_logits_value: Value


class MixedImagesError(RuntimeError):
    """A batch whose images can't be told apart behind an operation: they are to be explained one by one.

    Attributes:
        op: The operation.
        logits: What the model returned for the batch, (N, K).
    """

    def __init__(self, op: Op, logits: Tensor) -> None:
        super().__init__(f"{op.name} in module {op.module!r}: the images behind it are not known to be told apart")
        self.op, self.logits = op, logits


def record(
    model: nn.Module,
    images: Tensor,
    keeps: Callable[[Op], Keeps],
    wanted: frozenset[str] = frozenset(),
    output: OutputKey = None,
    binary: bool = True,
    from_logits: bool = False,
    apart: bool = True,
) -> Recording:
    """Run the model once and record it.

    Args:
        model: A module in evaluation mode; it is neither changed nor traced.
        images: (N, C, H, W) or (N, C, L) or (N, C, D, H, W), as the model takes them.
        keeps: For an operation, which of its tensors are needed after the pass.
        wanted: Module paths whose outputs, and all that comes after them, are kept.
        output: Which entry of a tuple or dict of outputs holds the logits.
        binary: Whether one logit has two sides, targets 0 and 1.
        from_logits: Whether relevance will start at the logits, by rules that may follow the signs of weights.
        apart: Whether the rows of `images` are images that no rule may couple.

    Returns:
        The recording.

    Raises:
        OutputError: If the model returns no logits of shape (N, K) that depend on the images.
        NonFiniteError: If weights, activations or logits are NaN or infinite.
        MixedImagesError: If it is not known which image some value belongs to; never for a single image.
    """
    with torch.no_grad():
        own = images.detach().clone()  # a model may write into its input
        suspicion = Suspicion()
        tape = Tape(own, keeps, wanted, suspicion.look, suspicion.look)
        with tape.following(model), tape:
            logits = select_logits(model(own), len(images), output)
            class_logits = logits
            if binary and logits.shape[1] == 1:
                class_logits = sides_by_weights(tape, logits) if from_logits else two_sides(logits)
        value, class_value = tape.value_of(logits), tape.value_of(class_logits)
        suspicion.add([logits])
        if suspicion.confirmed():
            refuse_non_finite(model, images, logits)
    if value is None or class_value is None:
        raise OutputError(
            "the logits do not depend on the images: the model's forward pass left torch on the way "
            "(numpy, .item(), a custom kernel) or returns a constant. Explain the part of it that stays in torch."
        )
    mixing = trace_samples(tape, TRANSFERS, class_value)
    if mixing is not None and apart:
        raise MixedImagesError(mixing, logits)
    return Recording(tape, logits, value, class_logits, class_value)


def select_logits(returned: Any, batch: int, output: OutputKey = None) -> Tensor:
    """Find the logits in what a model returned.

    Args:
        returned: A tensor, a tuple, list, dict or an object with tensor attributes (such as a named tuple).
        batch: Number of images.
        output: Index, key or attribute name of the logits; may be omitted where only one entry has shape (N, K).

    Returns:
        Float tensor (N, K); (N, 1) where the model returns one number per image, (N,).

    Raises:
        OutputError: If there are none, or several and `output` does not choose.
    """
    if isinstance(returned, Tensor):
        if output is not None:
            raise OutputError(f"output={output!r} was given, but the model returns one tensor; leave output out")
        return _checked(returned, batch)
    entries = _entries(returned)
    if output is not None:
        if output not in entries:
            raise OutputError(f"output={output!r}: the model returns {sorted(map(str, entries))}; choose one of these")
        return _checked(entries[output], batch)
    fitting = {k: v for k, v in entries.items() if isinstance(v, Tensor) and v.ndim == 2 and len(v) == batch}
    if "logits" in fitting:
        return _checked(fitting["logits"], batch)
    if len({id(v) for v in fitting.values()}) == 1:
        return _checked(next(iter(fitting.values())), batch)
    raise OutputError(
        f"the model returns {type(returned).__name__} with entries {sorted(map(str, entries))}, of which "
        f"{len(fitting)} have the shape (N, K) of logits; say which one holds them with output=<index or key>"
    )


def _entries(returned: Any) -> Mapping[Any, Any]:
    if isinstance(returned, Mapping):
        return returned
    if isinstance(returned, (tuple, list)):
        named = getattr(returned, "_fields", ())
        return {**dict(enumerate(returned)), **{name: getattr(returned, name) for name in named}}
    if hasattr(returned, "__dict__"):
        return vars(returned)
    raise OutputError(f"the model returns {type(returned).__name__}, in which no logits can be looked for")


def _checked(logits: Any, batch: int) -> Tensor:
    if not isinstance(logits, Tensor):
        raise OutputError(f"the model's logits are {type(logits).__name__}, not a tensor; choose another output=")
    if logits.ndim < 2 and logits.numel() == batch:  # one logit per image, or squeeze() of a single one
        logits = logits.reshape(batch, 1)
    if logits.ndim != 2 or len(logits) != batch:
        advice = "Pool a map of logits over its positions in a small wrapper module."
        if logits.ndim < 2:
            advice = "The batch must stay the first dimension: squeeze(1) instead of squeeze(), no sum over images."
        raise OutputError(
            f"the model's logits have shape {tuple(logits.shape)}; expected (N, K), or (N,) for one logit, with "
            f"N={batch}. {advice}"
        )
    if not logits.is_floating_point():
        raise OutputError(f"the model's logits are {logits.dtype}; expected a floating-point dtype")
    return logits


def refuse_opaque(model: nn.Module) -> None:
    """Raise for models whose inside cannot be recorded.

    Raises:
        UnsupportedModelError: For scripted, traced or quantised modules.
    """
    for name, module in model.named_modules():
        where = f"{type(module).__name__} at {name!r}" if name else type(module).__name__
        if isinstance(module, torch.jit.ScriptModule):
            raise UnsupportedModelError(f"{where} is scripted or traced: explain the eager module it was made from")
        if "quantized" in type(module).__module__:
            raise UnsupportedModelError(f"{where} is quantised: explain the floating-point model it was made from")
