"""Lightning callbacks: watch a network while it trains, write seeds and masks while it predicts, evaluate it."""

from hedgeseg.callbacks.evaluation import Evaluation
from hedgeseg.callbacks.hedge import HedgeCallback
from hedgeseg.callbacks.mask_writer import MaskWriter
from hedgeseg.callbacks.seed_writer import SeedWriter
from hedgeseg.callbacks.segmenter_checkpoint import SegmenterCheckpoint

__all__ = ["Evaluation", "HedgeCallback", "MaskWriter", "SeedWriter", "SegmenterCheckpoint"]
