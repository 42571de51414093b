"""The old name of `trainer_context`."""

from hedgeseg.deprecation import renamed_module

__getattr__ = renamed_module(__name__, "hedgeseg.callbacks.trainer_context")
