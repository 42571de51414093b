"""Classifiers and segmenters: architectures by name, weights from anywhere, training by Lightning."""

from hedgeseg.models.architectures import build_network
from hedgeseg.models.classifier import Classifier
from hedgeseg.models.fully_convolutional import FullyConvolutional
from hedgeseg.models.grouped_logits import GroupedLogits, read_groups
from hedgeseg.models.segmentation_networks import build_segmentation_network
from hedgeseg.models.segmenter import Segmenter
from hedgeseg.models.small_cnn import SmallCNN
from hedgeseg.models.trunk_head import TrunkHead
from hedgeseg.models.unet import UNet

__all__ = [
    "Classifier",
    "FullyConvolutional",
    "GroupedLogits",
    "Segmenter",
    "SmallCNN",
    "TrunkHead",
    "UNet",
    "build_network",
    "build_segmentation_network",
    "read_groups",
]
