"""Attribution: (model, images, targets) to signed maps over the pixels."""

from hedgeseg.attribution.api import Attribution, attribute, resolve_layer
from hedgeseg.attribution.methods import METHODS
from hedgeseg.attribution.methods.method import Method

__all__ = ["METHODS", "Attribution", "Method", "attribute", "resolve_layer"]
