"""Attribution: (model, images, targets) to signed maps over the pixels."""

from hedgeseg.attribution.api import Attribution, attribute, conservation, resolve_layer
from hedgeseg.attribution.methods import METHODS
from hedgeseg.attribution.methods.method import Method
from hedgeseg.attribution.sweep import Conservation

__all__ = ["METHODS", "Attribution", "Conservation", "Method", "attribute", "conservation", "resolve_layer"]
