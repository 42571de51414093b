"""The attribution methods: one file each, one row each in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hedgeseg.attribution.methods import (
    agf,
    attention_rollout,
    center,
    contrastive_excitation_backprop,
    contrastive_lrp,
    deep_lift,
    deep_taylor,
    excitation_backprop,
    extremal_perturbation,
    full_grad,
    grad_cam,
    grad_cam_plus_plus,
    gradient,
    gradient_rollout,
    gradient_shap,
    guided_backprop,
    hedge,
    integrated_gradients,
    lime,
    lrp_alpha_beta,
    lrp_epsilon,
    occlusion,
    random,
    rap,
    relevance_cam,
    rise,
    rsp,
    score_cam,
    smooth_grad,
    softmax_gradient_lrp,
)
from hedgeseg.attribution.methods.method import Method

_ROWS: tuple[Method, ...] = (
    hedge.METHOD,
    grad_cam.METHOD,
    grad_cam_plus_plus.METHOD,
    score_cam.METHOD,
    guided_backprop.METHOD,
    excitation_backprop.METHOD,
    contrastive_excitation_backprop.METHOD,
    lrp_alpha_beta.METHOD,
    lrp_epsilon.METHOD,
    deep_taylor.METHOD,
    contrastive_lrp.METHOD,
    softmax_gradient_lrp.METHOD,
    rap.METHOD,
    rsp.METHOD,
    agf.METHOD,
    relevance_cam.METHOD,
    full_grad.METHOD,
    attention_rollout.METHOD,
    gradient_rollout.METHOD,
    integrated_gradients.METHOD,
    smooth_grad.METHOD,
    deep_lift.METHOD,
    gradient_shap.METHOD,
    lime.METHOD,
    occlusion.METHOD,
    rise.METHOD,
    extremal_perturbation.METHOD,
    gradient.METHOD,
    center.METHOD,
    random.METHOD,
)

METHODS: Mapping[str, Method] = MappingProxyType({row.name: row for row in _ROWS})
