"""Refiners: functions `(image uint8 (H, W, 3), probabilities (L, H, W)) -> (L, H, W)` that make regions follow edges.

`REFINERS` maps names to functions; a new refiner is one file and one row.
"""

from hedgeseg.seeds.refine.chain import REFINERS, Refine, Refiner, as_refiner, refined, refiner_of
from hedgeseg.seeds.refine.crf import dense_crf
from hedgeseg.seeds.refine.guided import guided_filter
from hedgeseg.seeds.refine.pamr import pamr
from hedgeseg.seeds.refine.random_walker import random_walker
from hedgeseg.seeds.refine.superpixels import superpixel_vote

__all__ = [
    "REFINERS",
    "Refine",
    "Refiner",
    "as_refiner",
    "dense_crf",
    "guided_filter",
    "pamr",
    "random_walker",
    "refined",
    "refiner_of",
    "superpixel_vote",
]
