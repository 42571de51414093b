"""Metrics of attribution maps and seeds: torchmetrics classes over pure functions.

They know tensors only, not how a map was made. Every localisation metric takes `update(maps, masks, classes, valid)`
and returns a flat dict whose headline key is the metric's name; states are sums, so distributed runs need nothing
more.
"""

from hedgeseg.metrics.outside_inside_ratio import OutsideInsideRatio, outside_inside_ratios
from hedgeseg.metrics.pixel_average_precision import PixelAveragePrecision, pixel_average_precisions
from hedgeseg.metrics.pointing_game import PointingGame, difficult_pairs, pointing_hits
from hedgeseg.metrics.positive_ratio import PositiveRatio, positive_ratios
from hedgeseg.metrics.rank_accuracy import RankAccuracy, rank_accuracies
from hedgeseg.metrics.seed_curve import SeedCurve

__all__ = [
    "OutsideInsideRatio",
    "PixelAveragePrecision",
    "PointingGame",
    "PositiveRatio",
    "RankAccuracy",
    "SeedCurve",
    "difficult_pairs",
    "outside_inside_ratios",
    "pixel_average_precisions",
    "pointing_hits",
    "positive_ratios",
    "rank_accuracies",
]
