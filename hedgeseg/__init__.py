"""hedgeseg: hedged attribution for CNN classifiers, watched in training and turned into segmentation seeds."""

from importlib.metadata import version

from hedgeseg.attribution import METHODS, Attribution, attribute, resolve_layer

__version__ = version("hedgeseg")

__all__ = ["METHODS", "Attribution", "__version__", "attribute", "resolve_layer"]
