"""Lightning callbacks: watch a training, write seeds and masks, evaluate methods, audit a whole data set."""

from hedgeseg.callbacks.dataset_audit import DatasetAudit
from hedgeseg.callbacks.evaluation import Evaluation
from hedgeseg.callbacks.hedge import HedgeCallback
from hedgeseg.callbacks.mask_writer import MaskWriter
from hedgeseg.callbacks.seed_writer import SeedWriter
from hedgeseg.callbacks.segmenter_checkpoint import SegmenterCheckpoint

__all__ = ["DatasetAudit", "Evaluation", "HedgeCallback", "MaskWriter", "SeedWriter", "SegmenterCheckpoint"]
