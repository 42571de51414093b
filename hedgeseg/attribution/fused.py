"""Fused attention kernels written out as the ordinary operations that they stand for, so that the tape can see inside.

A kernel such as flash attention hides the attention matrix. While a forward pass is recorded, its call is replaced by
a product, a softmax and a product, whose result is the same to rounding. It works on whatever kernel torch chose, below
the user's functions: nothing global is switched.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

aten = torch.ops.aten


def scaled_dot_product(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """``softmax(scale Q K^T + mask) V``.

    Args:
        query: (..., heads, L, E).
        key: (..., heads or a divisor of them, S, E).
        value: (..., likewise, S, V).
        mask: Bool (False: not attended to) or added, broadcastable to (..., heads, L, S).
        is_causal: Whether a query attends only to keys up to its own index.
        scale: 1 / sqrt(E) if None.

    Returns:
        The output (..., heads, L, V) and the attention matrix (..., heads, L, S).
    """
    repeats = query.shape[-3] // key.shape[-3] if query.ndim > 3 else 1
    if repeats > 1:
        key, value = key.repeat_interleave(repeats, -3), value.repeat_interleave(repeats, -3)
    lead, size = query.shape[:-2], (query.shape[-2], key.shape[-2])
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    query, key, value = (x.reshape(-1, *x.shape[-2:]) for x in (query * scale, key.transpose(-1, -2), value))
    scores = torch.bmm(query, key)
    wide = torch.promote_types(scores.dtype, torch.float32)  # kernels keep the softmax of half precision in float32
    if is_causal:
        mask = torch.ones(size, dtype=torch.bool, device=scores.device).tril()
    if mask is None:
        weights = scores.softmax(-1, dtype=wide)
    else:
        scores = scores.view(*lead, *size)
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
        # A query that may attend to nothing gets 0, as from the kernels, and not NaN.
        weights = torch._safe_softmax(scores, -1, dtype=wide).view(-1, *size)
    if weights.dtype != value.dtype:
        weights = weights.to(value.dtype)
    return torch.bmm(weights, value).view(*lead, size[0], -1), weights.view(*lead, *size)


def multi_head(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim: int,
    num_head: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    mask: Tensor | None = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    mask_type: int | None = None,
) -> tuple[Tensor, Tensor | None]:
    """What `nn.MultiheadAttention` computes on its fast path; arguments as of the kernel.

    In a mask everything but 0 forbids; its type says whether it is (L, S) (0), of padding (N, S) (1), or of both (2).
    """
    if query is key and key is value:
        projected = F.linear(query, qkv_weight, qkv_bias).chunk(3, -1)
    else:
        triples = zip((query, key, value), qkv_weight.chunk(3), qkv_bias.chunk(3), strict=True)
        projected = tuple(F.linear(x, w, b) for x, w, b in triples)
    heads = [x.unflatten(-1, (num_head, embed_dim // num_head)).transpose(1, 2) for x in projected]
    if mask is not None:
        mask = ~mask.to(torch.bool)
        if mask_type == 1:
            mask = mask[:, None, None]
    q, k, v = heads
    mixed, weights = scaled_dot_product(q, k, v, mask)
    output = F.linear(mixed.transpose(1, 2).flatten(2), proj_weight, proj_bias)
    if not need_weights:
        return output, None
    return output, weights.mean(1) if average_attn_weights else weights


def encoder_layer(
    src: Tensor,
    embed_dim: int,
    num_heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Tensor,
    norm_bias_1: Tensor,
    norm_weight_2: Tensor,
    norm_bias_2: Tensor,
    ffn_weight_1: Tensor,
    ffn_bias_1: Tensor,
    ffn_weight_2: Tensor,
    ffn_bias_2: Tensor,
    mask: Tensor | None = None,
    mask_type: int | None = None,
) -> Tensor:
    """What `nn.TransformerEncoderLayer` computes on its fast path; arguments as of the kernel."""

    def norm_1(x: Tensor) -> Tensor:
        return F.layer_norm(x, (embed_dim,), norm_weight_1, norm_bias_1, eps)

    def norm_2(x: Tensor) -> Tensor:
        return F.layer_norm(x, (embed_dim,), norm_weight_2, norm_bias_2, eps)

    def attend(x: Tensor) -> Tensor:
        weights = (qkv_weight, qkv_bias, proj_weight, proj_bias)
        return multi_head(x, x, x, embed_dim, num_heads, *weights, mask, False, mask_type=mask_type)[0]

    def feed(x: Tensor) -> Tensor:
        inner = F.linear(x, ffn_weight_1, ffn_bias_1)
        return F.linear(F.gelu(inner) if use_gelu else F.relu(inner), ffn_weight_2, ffn_bias_2)

    if norm_first:
        src = src + attend(norm_1(src))
        return src + feed(norm_2(src))
    src = norm_1(src + attend(src))
    return norm_2(src + feed(src))


def written_out(func: Any) -> Callable[..., Any] | None:
    """A function that does what a fused attention kernel does by ordinary operations, and returns as much.

    Args:
        func: An ATen overload.

    Returns:
        None for any other operation.
    """
    packet = getattr(func, "overloadpacket", func)
    if packet in _COMPOSITES:
        return func.decompose  # as torch does it above the level at which kernels are replaced
    if packet is aten._native_multi_head_attention:
        return multi_head
    if packet is aten._transformer_encoder_layer_fwd:
        return encoder_layer
    if packet not in _SCALED_DOT_PRODUCTS:
        return None
    schema = func._schema

    def replacement(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
        given = {**dict(zip((a.name for a in schema.arguments), args, strict=False)), **kwargs}
        query, key, value = given["query"], given["key"], given["value"]
        mask = given.get("attn_mask", given.get("attn_bias"))
        causal, scale = given.get("is_causal", False), given.get("scale")
        output, _ = scaled_dot_product(query, key, value, mask, causal, scale)
        # What else a kernel returns is for its own backward pass, which nobody calls.
        rest = (0 if "int" in str(r.type).lower() else query.new_empty(0) for r in schema.returns[1:])
        return output, *rest

    return replacement


# What the functions above call that torch takes apart before kernels are chosen.
_COMPOSITES = frozenset(
    {
        aten.softmax, aten.linear, aten.chunk, aten.reshape, aten.flatten, aten.unflatten, aten.repeat_interleave,
        aten.layer_norm, aten.to,
    }
)  # fmt: skip

_SCALED_DOT_PRODUCTS = frozenset(
    {
        aten._scaled_dot_product_flash_attention_for_cpu,
        aten._scaled_dot_product_flash_attention,
        aten._scaled_dot_product_efficient_attention,
        aten._scaled_dot_product_cudnn_attention,
        aten._scaled_dot_product_fused_attention_overrideable,
        aten._scaled_dot_product_attention_math_for_mps,
    }
)
