"""The two networks of a pipeline: which architecture each has, and the classifier as it was trained."""

from __future__ import annotations

import torch
from torch import nn

from hedgeseg.models import build_network
from hedgeseg.models.architectures import head_name
from hedgeseg.models.segmentation_networks import backbone_name
from hedgeseg.pipeline.settings import PipelineSettings
from hedgeseg.pipeline.work import Work


def segmenter_arch(settings: PipelineSettings) -> str:
    """Name of the segmentation network; the classifier's where none is asked for."""
    return str(settings.segmenter["arch"] or settings.classifier["arch"])


def choose_arch(settings: PipelineSettings, arch: str) -> None:
    """Take an architecture: a classifier's for both networks, a segmentation network's with its backbone."""
    import torchvision

    if arch == "unet":
        settings.segmenter["arch"] = arch
    elif arch in torchvision.models.list_models(module=torchvision.models.segmentation):
        settings.segmenter["arch"] = arch
        settings.classifier["arch"] = backbone_name(arch)
    else:
        settings.segmenter["arch"] = None
        settings.classifier["arch"] = arch


def trained_classifier(work: Work) -> nn.Module:
    """The classifier with the weights of its stage."""
    arch = work.settings.classifier["arch"]
    return build_network(arch, len(work.images.classes), str(work.classifier_file)).eval()


def all_but_the_head(arch: str) -> list[str]:
    """All parts of a classifier beside the one that its head is in."""
    with torch.device("meta"):
        network = build_network(arch, 2)
    head = head_name(network).partition(".")[0]
    return [name for name, part in network.named_children() if name != head and any(True for _ in part.parameters())]
