"""Where bfloat16 is fast: a processor without instructions for it computes it in software, many times slower."""

from __future__ import annotations

import platform

import torch


def has_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return True
    if platform.machine().lower() in ("x86_64", "amd64", "i386", "i686"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


NO_BF16 = (
    "precision='bf16': this processor has no instructions for bfloat16 and would emulate them, many times slower than "
    "float32; the layers were computed in float32. Leave precision out on this machine"
)
