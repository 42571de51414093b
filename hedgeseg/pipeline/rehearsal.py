"""What the stages are told, tried before the first: a misspelt option is told now, not after hours of learning."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from hedgeseg.callbacks.mask_writer import MaskWriter
from hedgeseg.data.fit import size_pair
from hedgeseg.data.pseudo_masks import check_ignore_below
from hedgeseg.models import Segmenter, build_network
from hedgeseg.models.input_statistics import input_statistics
from hedgeseg.pipeline.images import StageData
from hedgeseg.pipeline.networks import segmenter_arch
from hedgeseg.pipeline.settings import PipelineSettings
from hedgeseg.pipeline.stages import mask_generator_options, seed_generator, segmenter_options, shown
from hedgeseg.pipeline.work import Work
from hedgeseg.seeds.auto_level import PooledMoments
from hedgeseg.seeds.background import Constant, as_background
from hedgeseg.seeds.cutting import cut_seed
from hedgeseg.seeds.file_maps import PREFIX
from hedgeseg.seeds.mask_generator import MaskGenerator
from hedgeseg.seeds.refine import Refine, as_refiner
from hedgeseg.seeds.small_things import small_classes

SIDE = 32
"""Pixels of the picture that refiners are tried on."""


def rehearse(work: Work, stages: Collection[str]) -> None:
    """Try the settings of stages on networks that have learnt nothing, and the seeds' on an image of noise.

    Args:
        work: settings and images.
        stages: names of those that are still to be run.

    Raises:
        ValueError: a stage would fail with its settings; the message begins with its name.
        FileNotFoundError: a file that a stage is to read is missing; as well.
    """
    settings = work.settings
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if "classifier" in stages:
            with _told_to("classifier"):
                build_network(settings.classifier["arch"], len(work.images.classes))
                _images(work, "classifier")
        if "seeds" in stages:
            with _told_to("seeds"):
                _images(work, "seeds")
                _seeds(settings, len(work.images.classes))
        if "pseudo_masks" in stages:
            with _told_to("pseudo_masks"):
                options = settings.pseudo_masks
                as_background(options["background"])
                _refine(options["refine"])
                small_classes(PooledMoments(), float(options["small"]))
        if "segmenter" in stages or "supervised" in stages:
            with _told_to("segmenter"):
                _segmenter(work)
        if "masks" in stages or "supervised" in stages:
            with _told_to("masks"):
                generator = MaskGenerator(**mask_generator_options(settings.masks))
                _refine(settings.masks["refine"])
                MaskWriter(str(work.folder("masks")), generator, settings.masks["classes"])


def _images(work: Work, stage: str) -> None:
    """As a stage is shown them."""
    options = getattr(work.settings, stage)
    statistics = input_statistics(work.settings.classifier["arch"])
    StageData(work.images, statistics, **shown(options), train=work.images.train)


def _seeds(settings: PipelineSettings, classes: int) -> None:
    generator = seed_generator(settings)
    methods = settings.seeds["method"]
    if any(str(method).startswith(PREFIX) for method in ([methods] if isinstance(methods, str) else methods)):
        return  # there are no files of noise
    height, width = size_pair(settings.seeds["image_size"])
    network = build_network(settings.classifier["arch"], classes).eval()
    generator(network, torch.randn(3, height, width), [0], picture=_grey(height, width))


def _refine(refine: Refine) -> None:
    if isinstance(refine, dict) and "regions" in refine:
        as_refiner(refine)
        return  # there are no regions of a picture of one colour
    scores = torch.linspace(0, 1, SIDE).expand(1, SIDE, SIDE)
    cut_seed(scores, torch.tensor([0]), Constant(0.5), as_refiner(refine), lambda: _grey(SIDE, SIDE), SIDE)


def _segmenter(work: Work) -> None:
    options = work.settings.segmenter
    weights = None if options["weights"] == "classifier" else options["weights"]
    arch = segmenter_arch(work.settings)
    told = {**segmenter_options(options), "gate_strength": float(options["gate"])}
    Segmenter(len(work.images.classes), arch, None if arch == "unet" else weights, **told)
    _images(work, "segmenter")
    check_ignore_below(options["ignore_below"])


def _grey(height: int, width: int) -> Tensor:
    return torch.full((height, width, 3), 128, dtype=torch.uint8)


@contextmanager
def _told_to(stage: str) -> Iterator[None]:
    """Names the stage whose settings are wrong."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{stage}: {error}") from error
    except (ValueError, TypeError, LookupError, NotImplementedError) as error:
        raise ValueError(f"{stage}: {error}") from error
