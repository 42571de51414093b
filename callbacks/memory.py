"""The old name of `drift`."""

from hedgeseg.deprecation import renamed_module

__getattr__ = renamed_module(__name__, "hedgeseg.callbacks.drift", Memory="DriftTracker")
