"""The old name of `error_policy`."""

from hedgeseg.deprecation import renamed_module

__getattr__ = renamed_module(__name__, "hedgeseg.callbacks.error_policy", Tolerance="ErrorPolicy")
