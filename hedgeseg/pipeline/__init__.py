"""From labels to a trained segmentation network: the stages of `hedgeseg pipeline`, and what is built of them."""

from hedgeseg.pipeline.segmenting import segment_pictures
from hedgeseg.pipeline.start import start

__all__ = ["segment_pictures", "start"]
