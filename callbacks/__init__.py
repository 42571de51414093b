"""Lightning callbacks: watch explanations during training, write seeds while predicting, evaluate while testing."""

from hedgeseg.callbacks.evaluation import Evaluation
from hedgeseg.callbacks.hedge import HedgeCallback
from hedgeseg.callbacks.seed_writer import SeedWriter

__all__ = ["Evaluation", "HedgeCallback", "SeedWriter"]
