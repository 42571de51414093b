"""Fetching published archives through torchvision, with a way out where that fails."""

from typing import Any
from urllib.error import URLError

import torchvision


def fetch(name: str, dataset: str, manual: str, **arguments: Any) -> None:
    """Downloads, checks and unpacks a data set into `root`; torchvision compares the archive's checksum.

    Args:
        name: what messages call the data set.
        dataset: class of `torchvision.datasets`.
        manual: what to do by hand where the download fails.
        arguments: of that class, with `root`.

    Raises:
        ConnectionError: the server cannot be reached, or what came is not the published archive.
    """
    try:
        getattr(torchvision.datasets, dataset)(download=True, **arguments)
    except (URLError, OSError, RuntimeError, EOFError) as error:
        raise ConnectionError(
            f"{name} could not be downloaded ({type(error).__name__}: {error}). A broken archive may be left in "
            f"{arguments['root']}: delete it before the next try. By hand: {manual}."
        ) from error
