"""Seeds: from attribution maps to scores per class, pseudo-masks and files to train on."""

from hedgeseg.seeds.file_maps import FileMaps
from hedgeseg.seeds.formats import read_seed, write_seed
from hedgeseg.seeds.generate import SeedGenerator
from hedgeseg.seeds.maps import MapSource
from hedgeseg.seeds.refine import dense_crf, guided_filter, pamr, random_walker, superpixel_vote
from hedgeseg.seeds.seed import Seed

__all__ = [
    "FileMaps",
    "MapSource",
    "Seed",
    "SeedGenerator",
    "dense_crf",
    "guided_filter",
    "pamr",
    "random_walker",
    "read_seed",
    "superpixel_vote",
    "write_seed",
]
