"""A command that is killed and given again, and the comparison of what it leaves with that of one left alone."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def run(
    command: Sequence[str], log: Path, enough: Callable[[float], bool] | None = None, cwd: Path | None = None
) -> float:
    """One run in a process of its own; seconds it lived.

    Args:
        command: of a program that ends with 0 unless it is killed.
        log: file that takes what it says.
        enough: asked with the seconds it has lived; where it says so, the process is killed (SIGKILL).
        cwd: where it runs; where this process does without it.

    Raises:
        RuntimeError: the program failed.
    """
    start = time.monotonic()
    with log.open("ab") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, cwd=cwd)
        killed = False
        while process.poll() is None:
            if enough is not None and enough(time.monotonic() - start):
                process.send_signal(signal.SIGKILL)
                killed = True
                break
            time.sleep(0.01)
        code = process.wait()
    if code and not killed:
        raise RuntimeError(f"{' '.join(command[1:4])} ended with {code}; see {log}")
    return time.monotonic() - start


def compared(killed: Mapping[str, Any], whole: Mapping[str, Any], what: str) -> int:
    """Print how many of the things differ; 1 if any does, as an exit code."""
    differing = sorted(name for name in killed.keys() | whole.keys() if killed.get(name) != whole.get(name))
    print(f"{len(whole)} {what}, {len(differing)} differ {differing[:5]}")
    return 1 if differing else 0
