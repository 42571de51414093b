"""Archives of published data sets: fetched through torchvision, checked, and missed with advice."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torchvision
from torchvision.datasets.utils import check_md5

_NAMED = 3


@dataclass(frozen=True)
class Archive:
    """A published file.

    Attributes:
        name: of the file, as it is published.
        md5: its published checksum.
    """

    name: str
    md5: str


@dataclass(frozen=True)
class Source:
    """Where a data set comes from.

    Attributes:
        name: what messages call the data set.
        archives: its files.
        manual: how to get and unpack them by hand.
    """

    name: str
    archives: tuple[Archive, ...]
    manual: str

    def advice(self, folder: str | Path) -> str:
        """What to do where the unpacked data are not all in `folder`; looks for archives there and checks them.

        Computes checksums, which takes seconds per gigabyte: only for messages.
        """
        found = []
        for archive in self.archives:
            path = Path(folder) / archive.name
            if not path.is_file():
                continue
            if check_md5(str(path), archive.md5):
                found.append(f"{path} is whole: unpack it (again)")
            else:
                found.append(f"{path} is broken or only half downloaded (its MD5 is not {archive.md5}): delete it")
        return "; ".join([*found, f"by hand: {self.manual}"])

    def require(self, files: Iterable[Path], folder: str | Path) -> None:
        """Refuses a data set that was unpacked only in part.

        Args:
            files: that its lists name.
            folder: where its archives may lie.

        Raises:
            FileNotFoundError: some are missing; counts and names them, and says what the archives in `folder` are.
        """
        files = list(files)
        missing = [path for path in files if not path.is_file()]
        if missing:
            named = ", ".join(str(path) for path in missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
            raise FileNotFoundError(
                f"{self.name}: {len(missing)} of {len(files)} files are missing ({named}): it was unpacked only in "
                f"part. {self.advice(folder)}"
            )


def fetch(source: Source, dataset: str, present: Callable[[], bool], folder: str | Path, **arguments: Any) -> None:
    """Downloads, checks and unpacks a data set, unless it is there; torchvision compares checksums.

    Args:
        source: what is fetched.
        dataset: class of `torchvision.datasets`.
        present: whether the data are already unpacked.
        folder: where that class puts the archives.
        arguments: of that class.

    Raises:
        ConnectionError: the server cannot be reached, or what came is not the published archive.
    """
    if present():
        return
    try:
        getattr(torchvision.datasets, dataset)(download=True, **arguments)
    except (URLError, OSError, RuntimeError, EOFError) as error:
        raise ConnectionError(
            f"{source.name} could not be downloaded ({type(error).__name__}: {error}). {source.advice(folder)}"
        ) from error


def archives_of(resources: Sequence[tuple[str, str]]) -> tuple[Archive, ...]:
    """Archives from pairs of URL and MD5."""
    return tuple(Archive(url.rpartition("/")[2], md5) for url, md5 in resources)
