"""Parts of a work side by side on the cores of a processor: each in a process of its own, with one thread.

    done = forked([partial(make, share) for share in shares], patience=600)  # make(share, tell) tells what is done

One image after the other leaves cores idle however many threads torch has: much of the work is small, or Python. The
processes are forks, which see everything as it is and cost next to nothing; what they change is lost but for what they
tell and write. What a part did not tell, because it failed, was killed or was silent for too long, is for the caller.

Forks share what is open: a file that several read by `seek` and `read` is to be read before.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import torch

T = TypeVar("T")
Part = Callable[[Callable[[T], None]], object]

_PR_SET_PDEATHSIG = 1
_LOOK = 0.5
"""Seconds between looks at whether to stop."""


def can_fork(device: torch.device) -> bool:
    """Whether forks can compute there: on Linux's CPU, in a process that may have some and has no other device.

    With another device autograd has threads that no fork has, and other systems' libraries refuse to work in a fork.
    """
    alone = device.type == "cpu" and not torch.accelerator.is_available()
    return alone and sys.platform == "linux" and not multiprocessing.current_process().daemon


def forked(parts: Sequence[Part[T]], patience: float, stop: Callable[[], bool] = lambda: False) -> list[T]:
    """What the parts told, in the order in which it came.

    Warnings and output of the parts are not shown. They end when this does: an exception here, such as an interruption,
    ends them, and so does the end of this process.

    Args:
        parts: functions that are given `tell`, for whatever can be pickled; each has a process.
        patience: seconds that all may be silent.
        stop: is asked now and then whether to end before the parts do.
    """
    context = multiprocessing.get_context("fork")
    ends: list[Connection] = []
    processes = []
    told: list[T] = []
    try:
        with _no_pools():
            for part in parts:
                mine, theirs = context.Pipe(duplex=False)
                ends.append(mine)
                process = context.Process(target=_child, args=(part, theirs, os.getpid()), daemon=True)
                try:
                    process.start()
                except OSError:  # no memory, or too many processes: those that run go on
                    break
                finally:
                    theirs.close()
                processes.append(process)
        left, silent = list(ends), 0.0
        while left and silent < patience and not stop():
            ready = wait(left, _LOOK)
            silent = 0.0 if ready else silent + _LOOK
            for end in ready:
                assert isinstance(end, Connection)
                try:
                    told.append(pickle.loads(end.recv_bytes()))
                except (EOFError, OSError):  # it has ended
                    left.remove(end)
        return told
    finally:
        for process in processes:
            process.kill()
            process.join()
        for end in ends:
            end.close()


def _child(part: Part[Any], end: Connection, parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody writes after the parent was killed
    if os.getppid() != parent:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its parts
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not what Lightning does
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    part(lambda what: end.send_bytes(pickle.dumps(what)))


def one_thread() -> AbstractContextManager[None]:
    """Compute as the parts do, so that results are theirs to the bit."""
    return _held(torch.get_num_threads, torch.set_num_threads, 1)


def _no_pools() -> AbstractContextManager[None]:
    """Without threads of OpenCV, for which a fork would wait for ever."""
    cv2 = sys.modules.get("cv2")
    return nullcontext() if cv2 is None else _held(cv2.getNumThreads, cv2.setNumThreads, 0)


@contextmanager
def _held(read: Callable[[], int], write: Callable[[int], object], value: int) -> Iterator[None]:
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)
