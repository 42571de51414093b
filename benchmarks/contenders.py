"""Who is compared in `attribution_cost.py`: plain passes, this project, and peers where they are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hedgeseg import attribute, resolve_layer


@dataclass(frozen=True)
class Contender:
    """What is run: a function of nothing, and the maps per image it makes."""

    run: Callable[[], Any]
    maps: int = 1


def contenders(model: nn.Module, images: Tensor) -> dict[str, Contender]:
    """Everything that can be run here, by the name in the table; `model` is in evaluation mode."""
    makers = (_ours, _captum, _grad_cam, _zennit, _autolrp)
    return {name: contender for make in makers for name, contender in make(model, images).items()}


def _ours(model: nn.Module, images: Tensor) -> dict[str, Contender]:
    def forward() -> None:
        with torch.no_grad():
            model(images)

    def training_step() -> None:
        model.train()
        model.zero_grad()
        model(images).sum().backward()
        model.zero_grad()
        model.eval()

    def maps(targets: int, **options: Any) -> Contender:
        classes = torch.arange(targets, device=images.device).expand(len(images), targets)
        return Contender(lambda: attribute(model, images, classes, **options), targets)

    return {
        "plain forward": Contender(forward),
        "training step (forward, backward)": Contender(training_step),
        "hedge, 1 target": maps(1),
        "hedge, 5 targets, each": maps(5),
        "hedge, 20 targets, chunk=2, each": maps(20, chunk=2),
        'hedge, 1 target, precision="bf16"': maps(1, precision="bf16"),
        "grad_cam": maps(1, method="grad_cam"),
        "lrp_alpha_beta": maps(1, method="lrp_alpha_beta"),
        "lrp_epsilon": maps(1, method="lrp_epsilon"),
        'lrp_epsilon, attention="attnlrp"': maps(1, method="lrp_epsilon", attention="attnlrp"),
        "excitation_backprop": maps(1, method="excitation_backprop"),
        "rap": maps(1, method="rap"),
    }


def _captum(model: nn.Module, images: Tensor) -> dict[str, Contender]:
    if importlib.util.find_spec("captum") is None:
        return {}
    from captum.attr import LRP, IntegratedGradients, LayerGradCam

    gradients, cam = IntegratedGradients(model), LayerGradCam(model, _last_layer(model, images))
    return {
        "captum LRP": Contender(lambda: LRP(model).attribute(images, target=0)),
        "captum LayerGradCam": Contender(lambda: cam.attribute(images, target=0)),
        "captum IntegratedGradients, 50 steps": Contender(
            lambda: gradients.attribute(images, target=0, n_steps=50, internal_batch_size=len(images))
        ),
    }


def _grad_cam(model: nn.Module, images: Tensor) -> dict[str, Contender]:
    if importlib.util.find_spec("pytorch_grad_cam") is None:
        return {}
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def run() -> None:
        with GradCAM(model=model, target_layers=[_last_layer(model, images)]) as cam:
            cam(input_tensor=images, targets=[ClassifierOutputTarget(0)] * len(images))

    return {"pytorch-grad-cam GradCAM": Contender(run)}


def _zennit(model: nn.Module, images: Tensor) -> dict[str, Contender]:
    if importlib.util.find_spec("zennit") is None:
        return {}
    from zennit.attribution import Gradient
    from zennit.composites import EpsilonPlus

    one_hot = torch.zeros(len(images), 1000, device=images.device)
    one_hot[:, 0] = 1

    def run() -> None:
        with Gradient(model=model, composite=EpsilonPlus()) as attributor:
            attributor(images, one_hot)

    return {"zennit EpsilonPlus": Contender(run)}


def _autolrp(model: nn.Module, images: Tensor) -> dict[str, Contender]:
    if importlib.util.find_spec("autolrp") is None:
        return {}
    import autolrp

    def preset(name: str) -> Contender:
        config = autolrp.LRPConfig(rule={**autolrp.BASE, **getattr(autolrp, name)})

        def run() -> Tensor:
            wrapped = autolrp.tensor(images.clone())
            model(wrapped)[:, 0].sum().lrp(config=config)
            return wrapped.relevance

        return Contender(run)

    return {"autolrp CP-LRP": preset("CPLRP"), "autolrp AttnLRP": preset("ATTNLRP")}


def _last_layer(model: nn.Module, images: Tensor) -> nn.Module:
    """Where our own grad_cam looks."""
    return model.get_submodule(resolve_layer(model, images=images).split("#")[0])
