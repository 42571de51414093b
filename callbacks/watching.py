"""The old name of `stage_monitor`."""

from hedgeseg.deprecation import renamed_module

__getattr__ = renamed_module(__name__, "hedgeseg.callbacks.stage_monitor", Watching="StageMonitor")
