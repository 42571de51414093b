"""What a stage was made with and what came of it: `stage.json` in the folder of the stage."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

from hedgeseg.seeds.formats.files import replacing, sweep
from hedgeseg.seeds.manifest import config_digest
from hedgeseg.seeds.table import plain

RECORD = "stage.json"


@dataclass
class StageRecord:
    """The open folder of a stage.

    Attributes:
        folder: of the stage's files.
        settings: what decides them, as JSON holds it.
        digest: hash of the settings.
        result: what the stage said when it was done; None before.
        seconds: spent on it, over all runs.
        changed: settings in which an earlier result differed, so that it was removed.
    """

    folder: Path
    settings: Mapping[str, Any]
    digest: str
    result: dict[str, Any] | None = None
    seconds: float = 0.0
    changed: list[str] = field(default_factory=list)
    _since: float = field(default_factory=time.monotonic)

    def note(self) -> None:
        """Write down the time spent so far, for what comes after a kill."""
        now = time.monotonic()
        self.seconds += now - self._since
        self._since = now
        self._write()

    def finish(self, result: Mapping[str, Any]) -> None:
        """The stage is done."""
        self.result = dict(plain(result))
        self.note()

    def _write(self) -> None:
        content = {
            "digest": self.digest,
            "settings": self.settings,
            "result": self.result,
            "seconds": round(self.seconds, 1),
        }
        with replacing(self.folder / RECORD) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@contextmanager
def running(record: StageRecord, every: float = 10.0) -> Iterator[None]:
    """Note the time spent every few seconds, so that a kill loses no more."""
    stop = Event()

    def beat() -> None:
        while not stop.wait(every):
            record.note()

    thread = Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def open_stage(folder: Path, settings: Mapping[str, Any]) -> StageRecord:
    """Open the folder of a stage: as it is if its settings are the same, emptied if they are not.

    Args:
        folder: made if it does not exist.
        settings: whatever decides the files; must be JSON.

    Raises:
        ValueError: the folder holds files but no record, so that it is not known to be a stage's.
    """
    wanted = json.loads(json.dumps(settings, sort_keys=True))
    digest = config_digest(wanted)
    path = folder / RECORD
    changed: list[str] = []
    if path.is_file():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["digest"] == digest:
            sweep(folder)
            return StageRecord(folder, wanted, digest, stored["result"], float(stored["seconds"]))
        changed = differences(stored["settings"], wanted)
        shutil.rmtree(folder)
    elif folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds files of something else (it has no {RECORD}); choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    record = StageRecord(folder, wanted, digest, changed=changed)
    record.note()
    return record


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Settings that differ, by their dotted names, with both values.

    Example:
        >>> differences({"lr": 0.1, "data": {"size": 2}}, {"lr": 0.1, "data": {"size": 3}})
        ['data.size: 2 -> 3']
    """
    found = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key}: {old} -> {new}")
    return found
