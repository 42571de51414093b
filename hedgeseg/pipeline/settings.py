"""What every stage of a pipeline is told: defaults, over them a configuration, over it the command line."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STAGES = ("classifier", "seeds", "pseudo_masks", "segmenter", "masks", "supervised")
"""In their order; the last one only where it is asked for."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "classifier": {
        "arch": "resnet18",
        "weights": "DEFAULT",
        "freeze": [],
        "freeze_batch_norm": True,
        "loss": "bce",
        "lr": 1e-4,
        "head_lr_factor": 10.0,
        "weight_decay": 1e-4,
        "epochs": 8,
        "image_size": 225,
        "fit": None,
        "crop": None,
        "min_scale": 0.5,
        "batch_size": 16,
        "num_workers": 0,
        "views": 4,
        "precision": None,
    },
    "seeds": {
        "method": "hedge",
        "gamma": 2.0,
        "flip": True,
        "spread": True,
        "background": "auto",
        "held_back": True,
        "image_size": 289,
        "fit": None,
        "batch_size": 8,
        "num_workers": 0,
    },
    "pseudo_masks": {"refit": True, "small": 0.0, "background": "auto", "refine": "pamr", "refine_side": 256},
    "segmenter": {
        "arch": None,
        "weights": "classifier",
        "freeze_trunk": True,
        "freeze_batch_norm": True,
        "loss": "cross_entropy",
        "balance": 0.0,
        "dice": 0.0,
        "lr": 3e-3,
        "head_lr_factor": 1.0,
        "weight_decay": 1e-4,
        "epochs": 10,
        "image_size": 289,
        "fit": None,
        "crop": None,
        "min_scale": 0.5,
        "batch_size": 8,
        "num_workers": 0,
        "ignore_below": 0.0,
        "augment": True,
        "views": 4,
        "loss_stride": 2,
        "gate": 1.0,
        "precision": None,
    },
    "masks": {"flip": True, "scales": [1.0], "refine": None, "refine_side": 512, "classes": "all", "batch_size": 8},
}

# `seeds` and `masks` go on to generators, which name the options they do not know.
_OPEN = ("seeds", "masks")

_MAY_BE_NONE = ("views",)
_LEAST = {"epochs": 1, "batch_size": 1, "views": 1, "refine_side": 1, "num_workers": 0, "gate": 0}


@dataclass
class PipelineSettings:
    """Settings by stage.

    Attributes:
        classifier: of `Classifier`, with `epochs`, `image_size`, `batch_size`, `num_workers`. `freeze: trunk` trains
            the head alone, from `views` draws of each image. `min_scale` is the smallest share of a picture that a
            random crop keeps: crops of half of it may cut off what is small.
        seeds: of `SeedGenerator` without a refiner, and what it is shown; `held_back: false` saves the seeds of the
            held back images, on which the network is then not watched while it learns.
        pseudo_masks: `refit` (seeds are judged again by what those of all images have in common), `background`,
            `refine`, `refine_side`, and `small`, the share of the pictures that tells classes of small things
            (`hedgeseg.seeds.small_things`), 0 for none.
        segmenter: of `Segmenter`; `arch: null` takes the classifier's, `weights: classifier` its trained trunk. `views`
            draws of the augmentation of each image are learnt from in turn, and what a frozen trunk says of them is
            computed once; null draws anew in every epoch. `gate` is the strength with which the classifier's
            image-level probabilities weigh in the masks, 0 leaves them out. `precision`, of training and
            of the masks, is Lightning's.
        masks: of `MaskGenerator`, and `classes`, the `target` of `MaskWriter`.
        seed: of everything random.
    """

    classifier: dict[str, Any] = field(default_factory=lambda: deepcopy(DEFAULTS["classifier"]))
    seeds: dict[str, Any] = field(default_factory=lambda: deepcopy(DEFAULTS["seeds"]))
    pseudo_masks: dict[str, Any] = field(default_factory=lambda: deepcopy(DEFAULTS["pseudo_masks"]))
    segmenter: dict[str, Any] = field(default_factory=lambda: deepcopy(DEFAULTS["segmenter"]))
    masks: dict[str, Any] = field(default_factory=lambda: deepcopy(DEFAULTS["masks"]))
    seed: int = 0

    def update(self, stage: str, options: Mapping[str, Any]) -> None:
        """Put options over those of a stage.

        Raises:
            ValueError: no such stage, an option that it does not have, or no number where one is needed.
        """
        if stage not in DEFAULTS:
            raise ValueError(f"the pipeline has no settings {stage!r}; there are {', '.join(DEFAULTS)}, seed")
        strange = sorted(set(options) - set(DEFAULTS[stage]))
        if strange and stage not in _OPEN:
            raise ValueError(f"{stage} has no setting {strange[0]!r}; there are {', '.join(DEFAULTS[stage])}")
        current = getattr(self, stage)
        options = {name: _number(stage, name, value) for name, value in options.items()}
        if stage == "seeds" and "method" in options:  # gamma and its like belong to a method
            for name in set(current) - {
                "flip",
                "spread",
                "background",
                "held_back",
                "image_size",
                "batch_size",
                "num_workers",
            }:
                del current[name]
        current.update(options)


def _number(stage: str, name: str, value: Any) -> Any:
    """The value of an option; where its default is a number, it is one: YAML takes 3e-3 for a word.

    Raises:
        ValueError: it is none, or too small.
    """
    default = DEFAULTS[stage].get(name)
    if isinstance(default, bool) or not isinstance(default, int | float):
        return value
    if (value is None and name in _MAY_BE_NONE) or (name == "image_size" and isinstance(value, list | tuple)):
        return value
    if isinstance(value, str):
        with suppress(ValueError):
            value = float(value) if isinstance(default, float) else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{stage}: {name} must be a number such as {default}, got {value!r}")
    if value < _LEAST.get(name, value):
        raise ValueError(f"{stage}: {name} must be at least {_LEAST[name]}, got {value}")
    return value


def read_settings(config: Mapping[str, Any]) -> PipelineSettings:
    """Settings from a configuration as train.py's: its `pipeline`, `model` and `data` over the defaults.

    `model` is the segmentation network's, `trainer.max_epochs` its epochs; `data` may be a PseudoMaskDataModule, whose
    `image_size`, `batch_size`, `augment` and `ignore_below` are the segmentation network's as well.

    Raises:
        ValueError: settings that do not exist.
    """
    settings = PipelineSettings()
    model = config.get("model") or {}
    if str(model.get("class_path", "")).endswith("Segmenter"):
        told = {key: value for key, value in (model.get("init_args") or {}).items() if key != "num_classes"}
        settings.update("segmenter", told)
        if told.get("weights") is not None:
            settings.segmenter["weights"] = "classifier"
    epochs = (config.get("trainer") or {}).get("max_epochs")
    if epochs is not None:
        settings.segmenter["epochs"] = epochs
    data = config.get("data") or {}
    if str(data.get("class_path", "")).endswith("PseudoMaskDataModule"):
        shown = ("image_size", "fit", "crop", "batch_size", "augment", "ignore_below", "views")
        told = {key: value for key, value in (data.get("init_args") or {}).items() if key in shown}
        settings.update("segmenter", {key: value for key, value in told.items() if value is not None})
    if config.get("seed_everything") is not None:
        settings.seed = int(config["seed_everything"])
    for stage, options in (config.get("pipeline") or {}).items():
        if stage == "seed":
            settings.seed = int(options)
        else:
            settings.update(stage, options or {})
    return settings


def image_data(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The part of a configuration that tells where images and labels are, inside a PseudoMaskDataModule or not."""
    data = config.get("data")
    if not data:
        return None
    if str(data.get("class_path", "")).endswith("PseudoMaskDataModule"):
        data = (data.get("init_args") or {}).get("data")
    return None if data is None else dict(data)


def read_config(path: Path) -> dict[str, Any]:
    """The content of a YAML file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no mapping.
    """
    import yaml  # type: ignore[import-untyped]

    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no configuration: it holds {type(content).__name__}")
    return content
