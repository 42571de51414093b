"""What operations do to the images of a batch: the table for `tracing`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from hedgeseg.attribution.aliasing import view_write
from hedgeseg.attribution.one_logit import opposite
from hedgeseg.attribution.operations import (
    ACTIVATIONS,
    BATCH_NORMS,
    CONVOLUTIONS,
    COPIES,
    OVERWRITES,
    POINTWISE,
    PRODUCTS,
    QUOTIENTS,
    SUMS,
    VIEWS,
)
from hedgeseg.attribution.tracing import Transfer
from hedgeseg.attribution.tracing_moves import (
    along,
    batch_normalised,
    concatenated,
    convolved,
    expanded,
    first,
    layer_normalised,
    leading,
    moved,
    multiplied,
    overwritten,
    padded,
    permuted,
    reduced,
    removed,
    reshaped,
    rolled,
    rows,
    same,
    stacked,
    transposed_linear,
    unsqueezed,
    windows,
    within,
)

aten = torch.ops.aten

_SAME = frozenset(
    {
        aten.gt, aten.ge, aten.lt, aten.le, aten.eq, aten.ne, aten.logical_and, aten.logical_or, aten.logical_not,
        aten.bitwise_and, aten.bitwise_or, aten.bitwise_not, aten.isnan, aten.isinf, aten.isfinite, aten.sign,
        aten.maximum, aten.minimum, aten.fmax, aten.fmin, aten.reciprocal, aten.reciprocal_, aten.rsqrt, aten.rsqrt_,
        aten.cos, aten.tan, aten.atan, aten.atan2, aten.sinh, aten.cosh, aten.round, aten.floor, aten.ceil, aten.trunc,
        aten.frac, aten.remainder, aten.fmod, aten.lerp, aten.lerp_, aten.addcmul, aten.addcmul_, aten.addcdiv,
        aten.addcdiv_, aten.where, aten.masked_fill, aten.masked_fill_, aten.bernoulli, aten.bernoulli_, aten.erfc,
        aten.log2, aten.log10, aten.exp2, aten.sgn, aten.tril, aten.triu, aten.angle, aten.conj, aten._conj,
        aten.resolve_conj, aten.resolve_neg, aten.logit, aten.hypot, aten.clip, aten.floor_divide, aten.copysign,
        aten.square_, aten.sin_, aten.cos_, aten.erf_, aten.round_, aten.heaviside, aten.xlogy, aten.logaddexp,
        aten.celu, aten.prelu, aten.rrelu, aten.glu_jvp, aten.special_erf,
    }
)  # fmt: skip


def _table() -> dict[Any, Transfer]:
    table: dict[Any, Transfer] = {}

    def rule(transfer: Transfer, *packets: Any) -> None:
        table.update(dict.fromkeys(packets, transfer))

    rule(same, *ACTIVATIONS, *POINTWISE, *COPIES, *OVERWRITES, *SUMS, *PRODUCTS, *QUOTIENTS, *_SAME, opposite)
    rule(overwritten, aten.copy_, aten.copy)
    rule(reshaped, *VIEWS)
    rule(unsqueezed, aten.unsqueeze, aten.unsqueeze_)
    rule(permuted, aten.permute, aten.transpose, aten.transpose_, aten.t, aten.t_)
    rule(expanded, aten.expand, aten.repeat)
    rule(removed, aten.select, aten.unbind)
    rule(stacked, aten.stack)
    rule(concatenated, aten.cat)
    rule(convolved, *CONVOLUTIONS)
    rule(multiplied, aten.mm, aten.addmm, aten.addmm_, aten.bmm, aten.baddbmm, aten.baddbmm_, aten.matmul)
    rule(transposed_linear, aten.linear)
    rule(batch_normalised, *BATCH_NORMS)
    rule(layer_normalised, aten.native_layer_norm, aten._fused_rms_norm)
    rule(leading(1), aten.native_group_norm, aten.im2col, aten.col2im, aten.channel_shuffle,
         aten.native_channel_shuffle)  # fmt: skip
    rule(padded, aten.constant_pad_nd, *_named("reflection_pad", "replication_pad"))
    rule(windows, aten.unfold)
    rule(rows(3), aten.pixel_shuffle, aten.pixel_unshuffle)
    for k in (1, 2, 3):
        rule(rows(k), *_named(f"avg_pool{k}d", f"adaptive_avg_pool{k}d", f"_adaptive_avg_pool{k}d", exact=True))
        rule(rows(k), *_named(f"max_pool{k}d_with_indices", f"adaptive_max_pool{k}d", exact=True))
        rule(rows(k), *_named(f"fractional_max_pool{k}d", f"max_unpool{k}d", exact=True))
    rule(leading(2), *_named("upsample_", "_upsample_", "grid_sampler_", "cudnn_grid_sampler"))
    rule(leading(2), *_named("scaled_dot_product_", "_scaled_dot_product_"))
    rule(within(1), aten._softmax, aten.softmax, aten._log_softmax, aten.log_softmax, aten._safe_softmax)
    rule(within(1), aten.cumsum, aten.cumsum_, aten.cumprod, aten.logcumsumexp, aten.cummax, aten.cummin, aten.glu)
    rule(within(1, default=-1), aten.sort, aten.argsort)
    rule(within(1), aten.scatter, aten.scatter_, aten.scatter_add, aten.scatter_add_, aten.index_add, aten.index_add_)
    rule(within(2, default=-1), aten.topk, aten.kthvalue)
    rule(within(1), aten._fft_r2c, aten._fft_c2r, aten._fft_c2c)
    rule(along(1, "dim", 0), aten.index_select, aten.slice, aten.narrow, aten.gather)
    rule(along(2, "dim", 0), aten.split, aten.split_with_sizes, aten.chunk)
    rule(along(1, "dims"), aten.flip)
    rule(along(2, "dim", 0), aten.slice_scatter, aten.select_scatter)
    rule(rolled, aten.roll)
    rule(moved, aten.index, aten.index_put, aten.index_put_, aten.diagonal, aten.as_strided_copy, view_write)
    rule(reduced(1, 2), aten.mean, aten.sum, aten.amax, aten.amin, aten.logsumexp, aten.argmax, aten.argmin, aten.max,
         aten.min, aten.prod, aten.any, aten.all, aten.nansum)  # fmt: skip
    rule(reduced(1, 3), aten.var, aten.std, aten.var_mean, aten.std_mean, aten.median)
    rule(reduced(2, 3), aten.linalg_vector_norm, aten.norm)
    rule(first, aten.view_as_real, aten.view_as_complex)
    return table


def _named(*prefixes: str, exact: bool = False) -> list[Callable[..., Any]]:
    """Packets by name: not every version of torch has all of them."""
    names = prefixes if exact else [n for n in dir(aten) if n.startswith(prefixes)]
    return [getattr(aten, n) for n in names if hasattr(aten, n) and "backward" not in n]


TRANSFERS: dict[Any, Transfer] = _table()
