"""The one context manager that owns every side effect on a model, and undoes it.

Attribution has to put a model into evaluation mode, run its forward pass and sometimes differentiate it, wherever it
is called from: a validation hook in inference mode, the middle of gradient accumulation, a compiled network under
autocast. Whatever changes inside `explaining` is as it was before when the block ends, also after an exception.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# Modes, random streams and the compiler's stance are shared by all threads: of two that held a model at once, the one
# that leaves first would put it back into training mode under the other.
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def explaining(model: nn.Module) -> Iterator[None]:
    """Hold `model` in evaluation mode for the duration of the block, then restore all that the block could change.

    Restored: the state of the random number generators (torch on the CPU and on every CUDA device that is in use,
    numpy, python), every submodule's training flag, every buffer's value and identity (non-persistent ones too), every
    parameter's ``grad`` and ``requires_grad``. Inside, inference mode is off, gradients are off, and compiled modules
    run eagerly, so that hooks and the recorder see every operation. Threads wait for each other.

    Args:
        model: The module to hold.

    Yields:
        Nothing.
    """
    with ExitStack() as stack:
        stack.enter_context(_ONE_AT_A_TIME)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(_rng_restored(model))
        stack.enter_context(_modules_restored(model))
        stack.enter_context(torch.no_grad())
        if "torch._dynamo" in sys.modules:  # a compiled model has imported it; nobody else should pay for it
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for module in model.modules():
            # The attribute, not eval(): a module may override train() with effects of its own.
            module.training = False
        yield


@contextmanager
def _rng_restored(model: nn.Module) -> Iterator[None]:
    devices = sorted(
        {p.device.index for p in model.parameters() if p.device.type == "cuda" and p.device.index is not None}
    )
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - the legacy stream is shared
    torch_state = torch.get_rng_state()
    cuda_states = [torch.cuda.get_rng_state(i) for i in devices]
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_rng_state(torch_state)
        for device, state in zip(devices, cuda_states, strict=True):
            torch.cuda.set_rng_state(state, device)


@dataclass
class _BufferState:
    """A buffer, a copy of its values, and its version counter (None for an inference tensor, which has none)."""

    buffer: Tensor
    copy: Tensor
    version: int | None

    @classmethod
    def of(cls, buffer: Tensor) -> _BufferState:
        return cls(buffer, buffer.detach().clone(), None if buffer.is_inference() else buffer._version)

    def restore(self) -> None:
        # An untouched buffer is not written: a write would invalidate a graph of the caller's that saved it.
        if self.version is None or self.buffer._version != self.version or self._changed_on_cpu():
            with torch.inference_mode(self.version is None):  # an inference tensor may be written only there
                self.buffer.copy_(self.copy)

    def _changed_on_cpu(self) -> bool:
        return self.buffer.device.type == "cpu" and not torch.equal(self.buffer, self.copy)


@dataclass
class _ModuleState:
    """What one module held when the block was entered."""

    module: nn.Module
    training: bool
    buffers: dict[str, Tensor | None]
    values: list[_BufferState]
    parameters: list[tuple[nn.Parameter, bool, Tensor | None]]

    @classmethod
    def of(cls, module: nn.Module) -> _ModuleState:
        buffers = dict(module._buffers)
        values = [_BufferState.of(b) for b in buffers.values() if b is not None]
        parameters = [(p, p.requires_grad, p.grad) for p in module._parameters.values() if p is not None]
        return cls(module, module.training, buffers, values, parameters)

    def restore(self) -> None:
        self.module.training = self.training
        for value in self.values:
            value.restore()
        now = self.module._buffers
        if now.keys() != self.buffers.keys() or any(now[name] is not b for name, b in self.buffers.items()):
            self.module._buffers.clear()
            self.module._buffers.update(self.buffers)
        for parameter, requires_grad, grad in self.parameters:
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)
            if parameter.grad is not grad:
                parameter.grad = grad


@contextmanager
def _modules_restored(model: nn.Module) -> Iterator[None]:
    states = [_ModuleState.of(module) for module in model.modules()]
    try:
        yield
    finally:
        with torch.no_grad():
            for state in states:
                state.restore()


@contextmanager
def full_precision(like: Tensor) -> Iterator[None]:
    """Propagate relevance as it is: autocast is off on the device of `like`, and TensorFloat-32 on every device.

    A rule divides by sums of many terms; with TF32's 10 bits its maps would not be those of the same network elsewhere.
    """
    with torch.autocast(like.device.type, enabled=False), _ieee():
        yield


@contextmanager
def _ieee() -> Iterator[None]:
    """Hold what torch may compute float32 in at float32, and put it back."""
    cudnn, newer = torch.backends.cudnn, _precisions()
    before = [backend.fp32_precision for backend in newer]
    try:  # the older flags; torch refuses to read them where somebody set the newer ones against them
        legacy = (torch.get_float32_matmul_precision(), cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
    except RuntimeError:
        legacy = None
    try:
        if legacy is None:
            for backend in newer:
                backend.fp32_precision = "ieee"
        else:
            torch.set_float32_matmul_precision("highest")
            cudnn.allow_tf32 = False
        yield
    finally:
        if legacy is not None:
            torch.set_float32_matmul_precision(legacy[0])
            cudnn.allow_tf32 = legacy[1]
        for backend, precision in zip(newer, before, strict=True):
            if backend.fp32_precision != precision:
                backend.fp32_precision = precision


def _precisions() -> list[Any]:
    """What has a precision of its own in the newer interface of torch, none in an older torch."""
    backends: Any = torch.backends
    if not hasattr(backends, "fp32_precision"):
        return []
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    return [backends.cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn]


@contextmanager
def hooks(handles: list[Any]) -> Iterator[None]:
    """Remove every hook handle of `handles` when the block ends, also after an exception."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
