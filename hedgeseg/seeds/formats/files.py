"""Files that appear whole or not at all, with names that stay in their folder."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath


def file_in(folder: str | os.PathLike[str], identifier: str, suffix: str) -> Path:
    """Path of `identifier + suffix` inside `folder`; an identifier may name subfolders with `/`.

    Raises:
        ValueError: an identifier that is empty, absolute, hidden, or would leave the folder.
    """
    parts = PurePosixPath(identifier).parts
    bad = (
        not parts
        or identifier.startswith("/")
        or identifier.endswith("/")
        or any(part.startswith(".") for part in parts)
        or any(character in identifier for character in ("\\", "\0", ":"))
    )
    if bad:
        raise ValueError(
            f"image id {identifier!r} cannot be a file name: use letters, digits, '_' or '-', with '/' for subfolders"
        )
    path = Path(folder, *parts[:-1], parts[-1] + suffix)
    # A link inside the folder may still point elsewhere.
    if not path.parent.resolve().is_relative_to(Path(folder).resolve()):
        raise ValueError(f"image id {identifier!r} would be written outside {folder}")
    return path


TEMPORARY = ".tmp-"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, moved onto it when the block ends well, removed when it does not.

    Readers, and whoever comes after a kill, see the old file or the new one, never a part.
    """
    with _temporary(path) as temporary:
        yield temporary
        _publish(temporary)
        os.replace(temporary, path)


def write_once(path: Path, text: str) -> None:
    """Write a text file whole, unless it is there already: of several processes the first one wins."""
    with _temporary(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        _publish(temporary)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
        except OSError:  # a file system without links: there the last one wins
            os.replace(temporary, path)


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name says whose it is, so that `sweep` can tell what a killed process left from what is being written.
    prefix = f"{TEMPORARY}{socket.gethostname()}-{os.getpid()}-"
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _publish(temporary: Path) -> None:
    """Temporary files are private; what is published follows the umask like any other file."""
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)


def sweep(folder: str | os.PathLike[str]) -> int:
    """Remove temporary files that processes of this machine left when they were killed; returns how many.

    Files of processes that live, or that ran on another machine (which may live), are left alone.
    """
    removed = 0
    mine = f"{TEMPORARY}{socket.gethostname()}-"
    for path in Path(folder).rglob(f"{TEMPORARY}*"):
        process = path.name.removeprefix(mine).partition("-")[0]
        if path.name.startswith(mine) and process.isdecimal() and not _alive(int(process)):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it exists and is another user's
        return True
    return True


def identifiers(folder: str | os.PathLike[str], suffix: str) -> list[str]:
    """Sorted ids of the files with a suffix in a folder and its subfolders; hidden and temporary files are left out.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}")
    found = []
    for path in root.rglob(f"*{suffix}"):
        relative = path.relative_to(root)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            found.append(relative.as_posix()[: -len(suffix)])
    return sorted(found)
