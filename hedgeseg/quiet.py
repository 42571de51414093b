"""What a command says on the screen: what other libraries say and nobody can act upon is left out, the rest is plain.

    with quiet():
        ...

Only what is listed here, and only while a command runs: the library itself silences nobody, and what hedgeseg says of
its own is never on the list. A warning is a sentence for whoever typed the command, not the line of code it is from.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LIBRARIES = r"(lightning|lightning_utilities|torchmetrics|pydantic|wandb|albumentations|jsonargparse|torch)(\.|$)"
"""Whose announcements of what will change in them are for their developers."""

NOTICES = (
    r"LightningCLI's args parameter is intended to run",
    r"The number of training batches \(\d+\) is smaller than the logging interval",
    r"The '\w+' does not have many workers",
    r"predict returned None if it was on purpose",
    r"Found \d+ module\(s\) in eval mode at the start of training",  # frozen on purpose
    r"Starting from v\d[\d.]*, `tensorboardX` has been removed",
    r".*repr. attribute with value .* was provided to the `Field\(\)` function",
)
"""How warnings begin that are no news to whoever runs a command."""

REMARKS = re.compile(
    "💡 Tip:"
    r"|(GPU|TPU|HPU) available: False"
    r"|You are using a CUDA device .* that has Tensor Cores"
    r"|LOCAL_RANK: \d+ - CUDA_VISIBLE_DEVICES"
    "|Seed set to"
    "|Loading `train_dataloader` to estimate"
    r"|`Trainer\.\w+` stopped: `max_(epochs|steps)="
)
"""Of Lightning's remarks, advertisements and what every run says."""

_LOGGERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.seed",
    "lightning.pytorch.accelerators.cuda",
)


class _Dropped(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return REMARKS.match(record.getMessage()) is None


def as_note(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning as one line; where it comes from only if that is the news, as of a name that was given up."""
    if issubclass(category, UserWarning):
        return f"note: {message}\n"
    return f"{filename}:{lineno}: {category.__name__}: {message}\n"


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out other libraries' noise inside the block."""
    loggers, dropped = [logging.getLogger(name) for name in _LOGGERS], _Dropped()
    with warnings.catch_warnings():
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category, module=LIBRARIES)
        for text in NOTICES:
            warnings.filterwarnings("ignore", text)
        for logger in loggers:
            logger.addFilter(dropped)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(dropped)


@contextmanager
def as_notes() -> Iterator[None]:
    """Show a warning as one line inside the block; to be begun after imports: Lightning brings a format of its own."""
    written, warnings.formatwarning = warnings.formatwarning, as_note
    try:
        yield
    finally:
        if warnings.formatwarning is as_note:  # else Lightning was imported meanwhile
            warnings.formatwarning = written
