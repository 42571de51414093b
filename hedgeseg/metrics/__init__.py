"""Metrics of attribution maps and seeds: torchmetrics classes over pure functions.

They know tensors only, not how a map was made. Every localisation metric takes `update(maps, masks, classes, valid)`
and returns a flat dict whose headline key is the metric's name; states are sums, so distributed runs need nothing
more.
"""

from hedgeseg.metrics.bootstrap import Comparison, Interval, compare, confidence_interval, ratio_interval
from hedgeseg.metrics.class_discrimination import ClassDiscrimination, target_pairs
from hedgeseg.metrics.component_average_precision import ComponentAveragePrecision
from hedgeseg.metrics.components import Components, map_components
from hedgeseg.metrics.deletion_insertion import Deletion, Insertion, probability_curves
from hedgeseg.metrics.evaluation import compare_scores, evaluate_maps, score_maps, summarize
from hedgeseg.metrics.max_box_accuracy import MaxBoxAccV2, best_overlaps
from hedgeseg.metrics.model_randomization import randomizable_layers, randomize_all, randomized_models
from hedgeseg.metrics.multiple_tests import holm
from hedgeseg.metrics.outside_inside_ratio import OutsideInsideRatio, outside_inside_ratios
from hedgeseg.metrics.pixel_average_precision import PixelAveragePrecision, pixel_average_precisions
from hedgeseg.metrics.pixel_pooled_precision import PxAP, pixel_histograms
from hedgeseg.metrics.pointing_game import PointingGame, difficult_pairs, pointing_hits
from hedgeseg.metrics.positive_ratio import PositiveRatio, positive_ratios
from hedgeseg.metrics.randomization_sanity import RandomizationSanity, efficient_mprt, smoothed
from hedgeseg.metrics.rank_accuracy import RankAccuracy, rank_accuracies
from hedgeseg.metrics.region_insertion import RegionInsertion, region_insertions
from hedgeseg.metrics.seed_curve import SeedCurve
from hedgeseg.metrics.similarity import spearman, ssim, top_overlap

__all__ = [
    "ClassDiscrimination",
    "Comparison",
    "ComponentAveragePrecision",
    "Components",
    "Deletion",
    "Insertion",
    "Interval",
    "MaxBoxAccV2",
    "OutsideInsideRatio",
    "PixelAveragePrecision",
    "PointingGame",
    "PositiveRatio",
    "PxAP",
    "RandomizationSanity",
    "RankAccuracy",
    "RegionInsertion",
    "SeedCurve",
    "best_overlaps",
    "compare",
    "compare_scores",
    "confidence_interval",
    "difficult_pairs",
    "efficient_mprt",
    "evaluate_maps",
    "holm",
    "map_components",
    "outside_inside_ratios",
    "pixel_average_precisions",
    "pixel_histograms",
    "pointing_hits",
    "positive_ratios",
    "probability_curves",
    "randomizable_layers",
    "randomize_all",
    "randomized_models",
    "rank_accuracies",
    "ratio_interval",
    "region_insertions",
    "score_maps",
    "smoothed",
    "spearman",
    "ssim",
    "summarize",
    "target_pairs",
    "top_overlap",
]
