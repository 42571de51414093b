"""Scripts in processes of their own, which cost a moment each.

They are forked from one process that has imported everything and computed nothing, since starting Python with torch,
Lightning and the rest takes seconds. What a script's first import does is thus not seen here: `loaded_modules` looks at
that, in a fresh process.
"""

import functools
import json
import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

IMPORTED = [
    "torch", "torchvision", "lightning.pytorch", "torchmetrics.detection", "jsonargparse", "matplotlib.figure",
    "hedgeseg.callbacks", "hedgeseg.data", "hedgeseg.models", "hedgeseg.evaluation", "hedgeseg.pipeline",
    "hedgeseg.cli",
]  # fmt: skip
PARTS = ["hedgeseg", "hedgeseg.visual", "hedgeseg.attribution", "hedgeseg.metrics", "hedgeseg.seeds"]


@dataclass(frozen=True)
class Done:
    """How a script ended."""

    returncode: int
    stdout: str
    stderr: str


class Script:
    """A script that runs.

    Args:
        arguments: the file and its command line.
        cwd: folder it runs in.
        path: folders that it may import from, beside its own.
        env: variables of its own.
    """

    def __init__(self, arguments, cwd, path=(), env=None):
        self.folder = Path(tempfile.mkdtemp())
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}  # not that of when the server began
        job = ([str(a) for a in arguments], str(cwd), [str(p) for p in path], environment, str(self.folder))
        self.process = _server().Process(target=_run, args=job)
        self.process.start()

    def wait(self, timeout):
        """Wait for its end; one that does not come is killed and an error."""
        self.process.join(timeout)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            raise TimeoutError(f"not done after {timeout} s: {self._read('stderr')[-2000:]}")
        done = Done(self.process.exitcode, self._read("stdout"), self._read("stderr"))
        shutil.rmtree(self.folder)
        return done

    def _read(self, name):
        path = self.folder / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def in_processes(function, *arguments, timeout=300):
    """Call a function of a module in one process per tuple of arguments, all at once; the first failure is an error."""
    processes = [_server().Process(target=function, args=given) for given in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == [0] * len(codes), codes


def run_script(arguments, cwd, path=(), env=None, timeout=500):
    """Run a script to its end."""
    return Script(arguments, cwd, path, env).wait(timeout)


@functools.cache
def _server():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # a pool of threads would not survive a fork
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = threads
    return context


def _run(arguments, cwd, path, env, folder):
    for number, name in ((1, "stdout"), (2, "stderr")):
        with open(Path(folder) / name, "wb") as file:
            os.dup2(file.fileno(), number)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = arguments
    sys.path[:0] = [str(Path(arguments[0]).resolve().parent), *path]
    try:
        runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


@functools.cache
def loaded_modules():
    """What is loaded beside torch once each of `PARTS` has been imported, one after the other, in a fresh process."""
    code = (
        "import json, sys, warnings; warnings.simplefilter('error', DeprecationWarning); import importlib, torch\n"
        "before, found = set(sys.modules), {}\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name); found[name] = sorted(set(sys.modules) - before)\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run([sys.executable, "-c", code, *PARTS], capture_output=True, text=True, check=True, timeout=300)
    return json.loads(done.stdout)
