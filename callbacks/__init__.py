"""Lightning callbacks: watch a classifier's explanations while it trains, write seeds while it predicts."""

from hedgeseg.callbacks.hedge import HedgeCallback
from hedgeseg.callbacks.seed_writer import SeedWriter

__all__ = ["HedgeCallback", "SeedWriter"]
