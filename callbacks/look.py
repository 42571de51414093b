"""The old name of `snapshot`."""

from hedgeseg.deprecation import renamed_module

__getattr__ = renamed_module(__name__, "hedgeseg.callbacks.snapshot", Look="Snapshot")
