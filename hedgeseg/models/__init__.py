"""Classifiers: architectures by name, weights from anywhere, training by Lightning."""

from hedgeseg.models.architectures import build_network
from hedgeseg.models.classifier import Classifier
from hedgeseg.models.fully_convolutional import FullyConvolutional
from hedgeseg.models.grouped_logits import GroupedLogits, read_groups
from hedgeseg.models.small_cnn import SmallCNN

__all__ = ["Classifier", "FullyConvolutional", "GroupedLogits", "SmallCNN", "build_network", "read_groups"]
