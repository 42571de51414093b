"""The classes of ATen operations that everything else speaks of: one place to add an operation to.

A class says what kind of thing an operation does, not how a method treats it: rules, the search for layers, the account
of images and positions, and the replay for DeepLIFT all read these sets. Members are operator packets
(``torch.ops.aten.relu``), which stand for all overloads.
"""

from __future__ import annotations

from typing import Any

import torch

aten = torch.ops.aten

# Layers with weights: the convolutions,
CONVOLUTIONS = frozenset({aten.convolution, aten._convolution})
# with them all that have one weight for all samples,
LAYERS = CONVOLUTIONS | {aten.addmm, aten.mm, aten.linear}
# and products with a matrix for each sample, such as attention.
BATCHED_PRODUCTS = frozenset({aten.bmm, aten.baddbmm})
WEIGHTED = LAYERS | BATCHED_PRODUCTS
MATRIX_PRODUCTS = BATCHED_PRODUCTS | {aten.mm, aten.addmm, aten.linear}

SOFTMAXES = frozenset({aten._softmax, aten._safe_softmax})

ACTIVATIONS = frozenset(
    {
        aten.relu, aten.relu_, aten.relu6, aten.hardtanh, aten.hardtanh_, aten.leaky_relu, aten.leaky_relu_,
        aten.elu, aten.elu_, aten.celu, aten.celu_, aten.selu, aten.selu_, aten.gelu, aten.silu, aten.silu_,
        aten.mish, aten.mish_, aten.hardswish, aten.hardswish_, aten.hardsigmoid, aten.hardsigmoid_,
        aten.sigmoid, aten.sigmoid_, aten.tanh, aten.tanh_, aten.softplus, aten.log_sigmoid_forward,
        aten.threshold, aten.threshold_, aten._prelu_kernel, aten.rrelu_with_noise, aten.rrelu_with_noise_,
        aten.clamp, aten.clamp_, aten.clamp_min, aten.clamp_min_, aten.clamp_max, aten.clamp_max_,
        aten.softshrink, aten.hardshrink, aten.erf, aten.sin, aten.square,
    }
)  # fmt: skip

BATCH_NORMS = frozenset(
    {
        aten.native_batch_norm, aten._native_batch_norm_legit, aten._native_batch_norm_legit_no_training,
        aten.cudnn_batch_norm, aten.miopen_batch_norm, aten._batch_norm_no_update, aten._batch_norm_with_update,
    }
)  # fmt: skip

NORMALISATIONS = BATCH_NORMS | {aten.native_layer_norm, aten.native_group_norm, aten._fused_rms_norm}

POINTWISE = frozenset(
    {
        aten.exp, aten.exp_, aten.expm1, aten.log, aten.log_, aten.log1p, aten.sqrt, aten.sqrt_, aten.abs, aten.abs_,
        aten.neg, aten.neg_, aten.pow, aten.pow_, aten.native_dropout, aten.nan_to_num, aten.nan_to_num_,
    }
)  # fmt: skip

COPIES = frozenset(
    {
        aten.clone, aten.detach, aten.detach_, aten.alias, aten.contiguous, aten._to_copy, aten.lift_fresh,
        aten.as_strided_, aten.positive, aten.view_as_real_copy,
    }
)  # fmt: skip

VIEWS = frozenset(
    {aten.view, aten._unsafe_view, aten.reshape, aten.flatten, aten.squeeze, aten.squeeze_, aten.unsqueeze,
     aten.unsqueeze_, aten._reshape_alias, aten._reshape_copy, aten.unflatten}
)  # fmt: skip

# Every output entry is an input entry, an average of some that sums to one, or a constant: the adjoint conserves.
MOVES = frozenset(
    {
        aten.permute, aten.transpose, aten.transpose_, aten.t, aten.t_, aten.expand, aten.repeat, aten.slice,
        aten.select, aten.narrow, aten.split, aten.split_with_sizes, aten.chunk, aten.unbind, aten.stack, aten.roll,
        aten.flip, aten.index, aten.index_select, aten.gather, aten.constant_pad_nd, aten.reflection_pad1d,
        aten.reflection_pad2d, aten.reflection_pad3d, aten.replication_pad1d, aten.replication_pad2d,
        aten.replication_pad3d, aten.pixel_shuffle, aten.pixel_unshuffle, aten.channel_shuffle,
        aten.native_channel_shuffle, aten.unfold, aten.im2col, aten.where, aten.masked_fill, aten.masked_fill_,
        aten.copy_, aten.copy, aten.as_strided, aten.movedim, aten.diagonal, aten.tril, aten.triu, aten.rot90,
        aten.slice_scatter, aten.select_scatter, aten.index_put, aten.index_put_,
        aten.upsample_nearest1d, aten.upsample_nearest2d, aten.upsample_nearest3d, aten._upsample_nearest_exact2d,
        aten.upsample_linear1d, aten.upsample_bilinear2d, aten.upsample_trilinear3d, aten.upsample_bicubic2d,
        aten._upsample_bilinear2d_aa, aten._upsample_bicubic2d_aa,
    }
)  # fmt: skip

AVERAGES = frozenset(
    {
        aten.avg_pool1d, aten.avg_pool2d, aten.avg_pool3d, aten._adaptive_avg_pool2d, aten._adaptive_avg_pool3d,
        aten.adaptive_avg_pool1d, aten.mean, aten.sum,
    }
)  # fmt: skip

MAXIMA = frozenset(
    {aten.max_pool2d_with_indices, aten.max_pool3d_with_indices, aten.adaptive_max_pool2d, aten.adaptive_max_pool3d}
)

# Entries at places that a second argument says.
GRID_SAMPLES = frozenset({aten.grid_sampler_2d, aten.grid_sampler_3d, aten.cudnn_grid_sampler})

OVERWRITES = frozenset({aten.fill, aten.fill_, aten.zero, aten.zero_})

SUMS = frozenset({aten.add, aten.add_, aten.sub, aten.sub_, aten.rsub})
PRODUCTS = frozenset({aten.mul, aten.mul_})
QUOTIENTS = frozenset({aten.div, aten.div_})
GATES = frozenset(
    {
        aten.sigmoid, aten.sigmoid_, aten.hardsigmoid, aten.hardsigmoid_, aten._softmax, aten.tanh, aten.tanh_,
        aten.gt, aten.ge, aten.lt, aten.le, aten.bernoulli, aten.bernoulli_,
    }
)  # fmt: skip

# What turns logits into probabilities, or their logarithms.
PROBABILITIES = frozenset(
    {aten._softmax, aten._log_softmax, aten.sigmoid, aten.sigmoid_, aten.log_sigmoid_forward, aten.hardsigmoid}
)

LAYER_NORMS = frozenset({aten.native_layer_norm, aten.native_group_norm})

RECTIFIERS = frozenset({aten.relu, aten.relu_, aten.relu6, aten.hardtanh, aten.hardtanh_})

# Parts of a dimension.
CUTS = frozenset({aten.slice, aten.narrow, aten.split, aten.split_with_sizes, aten.chunk})

# Their outputs take shape and type from an input, but no value.
VALUELESS = frozenset(
    {
        aten.zeros_like, aten.ones_like, aten.empty_like, aten.full_like, aten.rand_like, aten.randn_like,
        aten.new_zeros, aten.new_ones, aten.new_empty, aten.new_full, aten.new_empty_strided,
    }
)  # fmt: skip


def is_weighted(packet: Any) -> bool:
    """Whether an ATen operator multiplies its input by weights."""
    return packet in WEIGHTED
