"""Parts of a work side by side on the cores of a processor: each in a process of its own, with one thread.

    found = forked([partial(make, share) for share in shares], patience=600)

One image after the other leaves cores idle however many threads torch has: much of the work is small, or Python. The
processes are forks, which see everything as it is and cost next to nothing; what they change is lost but for what they
return and write. A part that fails, is killed or says nothing for too long gives None, and is for the caller to do.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch

R = TypeVar("R")

_PR_SET_PDEATHSIG = 1


def can_fork(device: torch.device) -> bool:
    """Whether forks can compute there: on Linux's CPU, in a process where torch has no other device.

    With another device autograd has threads that no fork has, and other systems' libraries refuse to work in a fork.
    """
    return device.type == "cpu" and sys.platform == "linux" and not torch.accelerator.is_available()


def forked(parts: Sequence[Callable[[], R]], patience: float) -> list[R | None]:
    """What each part returns; None of one that raised, died or took more than `patience` seconds.

    Warnings and output of the parts are not shown. An exception here, such as an interruption, ends them.

    Args:
        parts: functions whose results can be pickled; each has a process.
        patience: seconds that all may take together.
    """
    context = multiprocessing.get_context("fork")
    ends, processes = [], []
    try:
        with _no_pools(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*multi-threaded, use of fork", DeprecationWarning)
            for part in parts:
                mine, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_child, args=(part, theirs), daemon=True)
                process.start()
                theirs.close()
                ends.append(mine)
                processes.append(process)
        until = time.monotonic() + patience
        return [_received(end, until) for end in ends]
    finally:
        for process in processes:  # each has said what it has to say, or will not
            process.kill()
            process.join()
        for end in ends:
            end.close()


def _child(part: Callable[[], Any], end: Connection) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody writes after the parent was killed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its parts
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not what Lightning does
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    end.send_bytes(pickle.dumps(part()))


def _received(end: Connection, until: float) -> Any:
    try:
        return pickle.loads(end.recv_bytes()) if end.poll(max(0.0, until - time.monotonic())) else None
    except (EOFError, OSError):  # it ended without a word
        return None


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute as the parts do, so that results are theirs to the bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _no_pools() -> Iterator[None]:
    """Without threads of OpenCV, for which a fork would wait for ever."""
    cv2 = sys.modules.get("cv2")
    if cv2 is None:
        yield
        return
    before = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
