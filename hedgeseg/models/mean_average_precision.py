"""Mean average precision of multi-label classification, over the classes that occur."""

import warnings

import torch
from torchmetrics.classification import MultilabelAveragePrecision
from torchmetrics.utilities.data import dim_zero_cat


class MeanAveragePrecision(MultilabelAveragePrecision):
    """torchmetrics' average precision, averaged over the classes with a positive image.

    torchmetrics counts a class without positives as 0, so that a small validation set would lower the mean by classes
    it does not hold. Without any positive image the result is NaN.

    Args:
        num_classes: number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, average="none")

    def compute(self) -> torch.Tensor:  # type: ignore[override]
        """The mean, a scalar in [0, 1]."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No positive samples found")
            each = super().compute()
        occurs = dim_zero_cat(self.target).bool().any(0)
        return each[occurs].mean()
