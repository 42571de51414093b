"""Lightning callbacks: watch a classifier's explanations while it trains, write seeds while it predicts."""

from hedgeseg.callbacks.hedge import HedgeCallback

__all__ = ["HedgeCallback"]
