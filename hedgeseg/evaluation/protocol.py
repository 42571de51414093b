"""What is asked of every map: which classes are explained, which metrics are run, and with which settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from hedgeseg.metrics.canvas import CANVASES
from hedgeseg.metrics.model_randomization import Order, check_order

METRICS = (
    "pointing_game",
    "pixel_average_precision",
    "outside_inside_ratio",
    "positive_ratio",
    "rank_accuracy",
    "seed_curve",
    "class_discrimination",
    "region_insertion",
    "deletion",
    "insertion",
    "randomization_sanity",
    "px_ap",
    "max_box_acc_v2",
    "component_average_precision",
)
LOCALISATION = METRICS[:7]
PERTURBATION = frozenset(METRICS[7:10])
RANDOMIZATION = METRICS[10]
_OF_OBJECTS = frozenset(
    {
        "pointing_game",
        "pixel_average_precision",
        "outside_inside_ratio",
        "rank_accuracy",
        "seed_curve",
        *METRICS[11:],
    }
)

Regions = Literal["mask", "boxes", "foreground"]


@dataclass(frozen=True)
class Protocol:
    """Settings of an evaluation.

    Attributes:
        metrics: some of `METRICS`; only these are run.
        target: "label" explains the labelled classes; "predicted" the network's strongest class, scored on the
            labelled object, so that a wrong decision is charged to the map (single-label data only).
        top: of the labelled classes, only those among the network's so many strongest are explained; None for all.
        smallest: only classes that cover more than this share of the image are explained.
        predicted_top: what "predicted" means for the pointing game's subset: among the so many strongest classes;
            None: a sigmoid of at least 0.5, or the strongest class where classes exclude each other.
        regions: where the object is: the class's pixels in the "mask", its "boxes", or all that is no background
            ("foreground", for data whose masks do not tell classes apart).
        tolerance: of the pointing game, in pixels of the original image where the data set gives its annotations at
            the original size, else of the image the network sees.
        canvas: of region insertion.
        steps: of deletion and insertion.
        perturbed_images: region insertion, deletion and insertion are run on so many images of the data set only, the
            first by their turn, as far as a class of theirs is explained; None for all.
        randomized_images: likewise for the sanity check, which explains an image once more per layer.
        randomized_layers: and compares at so many layers, spread from top to bottom.
        randomized_order: see `RandomizationSanity`.
        randomized_samples: noisy copies of the image that the sanity check's maps are means over; 50 with the order
            "bottom_up" is smooth MPRT, 1 takes the image itself.
        seed_bins: thresholds of the seed curve.

    Raises:
        ValueError: an unknown metric, canvas or order, or a number out of range.
    """

    metrics: tuple[str, ...] = LOCALISATION
    target: Literal["label", "predicted"] = "label"
    top: int | None = None
    smallest: float = 0.0
    predicted_top: int | None = None
    regions: Regions = "mask"
    tolerance: float = 15
    canvas: str = "vignette"
    steps: int = 20
    perturbed_images: int | None = None
    randomized_images: int = 5
    randomized_layers: int = 8
    randomized_order: Order = "cascading"
    randomized_samples: int = 1
    seed_bins: int = 100

    def __post_init__(self) -> None:
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown or not self.metrics:
            raise ValueError(f"metrics={list(self.metrics)}: choose among {', '.join(METRICS)}")
        if self.canvas not in CANVASES:
            raise ValueError(f"canvas {self.canvas!r} is unknown; choose one of {', '.join(CANVASES)}")
        check_order(self.randomized_order)
        if self.tolerance < 0 or not 0 <= self.smallest < 1:
            raise ValueError(
                f"tolerance={self.tolerance} must be at least 0 pixels, smallest={self.smallest} in [0, 1)"
            )
        for name in ("top", "predicted_top", "steps", "randomized_layers", "randomized_samples", "seed_bins"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value}: must be at least 1")

    @property
    def localises(self) -> bool:
        """Whether a metric asks where the objects are."""
        return not _OF_OBJECTS.isdisjoint(self.metrics)

    def perturbs(self, turn: int) -> bool:
        """Whether a perturbation metric is run on the image with this turn."""
        within = self.perturbed_images is None or turn < self.perturbed_images
        return within and not PERTURBATION.isdisjoint(self.metrics)

    def randomizes(self, turn: int) -> bool:
        """Whether the sanity check is run on the image with this turn."""
        return RANDOMIZATION in self.metrics and turn < self.randomized_images

    def asks(self, turn: int) -> bool:
        """Whether any metric is run on the image with this turn."""
        others = set(self.metrics) - PERTURBATION - {RANDOMIZATION}
        return bool(others) or self.perturbs(turn) or self.randomizes(turn)

    def rows(self, num_classes: int) -> int:
        """Number of classes that masks tell apart.

        Raises:
            ValueError: too many for the seed curve.
        """
        if self.regions == "foreground":
            return 1
        if "seed_curve" in self.metrics and num_classes > 254:
            raise ValueError(
                f"seed_curve tells at most 254 classes apart, the data has {num_classes}: use regions='foreground', "
                "or leave it out"
            )
        return num_classes

    def config(self) -> dict[str, Any]:
        """The settings as JSON holds them."""
        return {**asdict(self), "metrics": sorted(self.metrics)}
