"""What later stages are told, tried before the first: a misspelt option is told now, not after hours of learning."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch

from hedgeseg.data.fit import size_pair
from hedgeseg.models import Segmenter, build_network
from hedgeseg.pipeline.networks import segmenter_arch
from hedgeseg.pipeline.settings import PipelineSettings
from hedgeseg.pipeline.stages import mask_generator_options, seed_generator, segmenter_options
from hedgeseg.seeds.auto_level import PooledMoments
from hedgeseg.seeds.background import as_background
from hedgeseg.seeds.file_maps import PREFIX
from hedgeseg.seeds.mask_generator import MaskGenerator
from hedgeseg.seeds.refine import as_refiner
from hedgeseg.seeds.small_things import small_classes


def rehearse(settings: PipelineSettings, classes: int, stages: Collection[str]) -> None:
    """Try the settings of stages on networks that have learnt nothing, and the seeds' on an image of noise.

    Args:
        settings: of all stages.
        classes: how many there are.
        stages: names of those that are still to be run.

    Raises:
        ValueError: a stage would fail with its settings; the message begins with its name.
        FileNotFoundError: a folder that a stage is to read is missing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if "seeds" in stages:
            with _told_to("seeds"):
                _seeds(settings, classes)
        if "pseudo_masks" in stages:
            with _told_to("pseudo_masks"):
                options = settings.pseudo_masks
                as_background(options["background"])
                as_refiner(options["refine"])
                small_classes(PooledMoments(), float(options["small"]))
        if "segmenter" in stages or "supervised" in stages:
            with _told_to("segmenter"):
                Segmenter(classes, segmenter_arch(settings), **segmenter_options(settings.segmenter))
        if "masks" in stages:
            with _told_to("masks"):
                MaskGenerator(**mask_generator_options(settings.masks))


def _seeds(settings: PipelineSettings, classes: int) -> None:
    generator = seed_generator(settings)
    methods = settings.seeds["method"]
    if any(str(method).startswith(PREFIX) for method in ([methods] if isinstance(methods, str) else methods)):
        return  # there are no files of noise
    height, width = size_pair(settings.seeds["image_size"])
    network = build_network(settings.classifier["arch"], classes).eval()
    generator(network, torch.randn(3, height, width), [0], picture=torch.zeros(height, width, 3, dtype=torch.uint8))


@contextmanager
def _told_to(stage: str) -> Iterator[None]:
    """Names the stage whose settings are wrong."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{stage}: {error}") from error
