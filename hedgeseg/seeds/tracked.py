"""Where a folder of seeds was shown: `wandb.json` in it, as the writers leave it."""

from __future__ import annotations

import json
import os
from pathlib import Path

TRACKED = "wandb.json"


def tracked(folder: str | os.PathLike[str]) -> dict[str, str]:
    """The run (`run`, `url` or, offline, `dir`), the `table` and the `artifact`; empty where it was not shown.

    Raises:
        ValueError: the file is damaged.
    """
    path = Path(folder) / TRACKED
    if not path.is_file():
        return {}
    try:
        return {str(key): str(value) for key, value in json.loads(path.read_text(encoding="utf-8")).items() if value}
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it") from error
