"""A pipeline left alone, and one that is killed at three moments and resumed: ROOT WHOLE CUT SETTINGS.

Each run is a process of its own, forked from one that has imported everything and run nothing.
"""

import os
import signal
import sys
import time
from pathlib import Path

from hedgeseg.pipeline import start


def begin(root, out, settings):
    """Process id of a run."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            start(root, out, csv="labels.csv", config=settings, accelerator="cpu", progress=False)
            code = 0
        finally:
            os._exit(code)
    return process


def finished(process):
    """Wait for the end of a run."""
    _, status = os.waitpid(process, 0)
    if status:
        sys.exit(f"the run ended with {status}")


def killed(process, moment):
    """Kill a run without a chance to tidy up, as soon as something is there."""
    while not moment():
        if os.waitpid(process, os.WNOHANG)[0]:
            sys.exit("the run ended before it was killed")
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


if __name__ == "__main__":
    root, whole, cut, settings = map(Path, sys.argv[1:])
    finished(begin(root, whole, settings))
    killed(begin(root, cut, settings), (cut / "classifier" / "last.ckpt").is_file)
    killed(begin(root, cut, settings), lambda: len(list(cut.glob("seeds/files/*.png"))) > 3)
    killed(begin(root, cut, settings), (cut / "segmenter" / "last.ckpt").is_file)
    finished(begin(root, cut, settings))
