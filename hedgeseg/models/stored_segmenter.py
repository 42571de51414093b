"""What a checkpoint of a Segmenter holds, without the files that its network once started from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

_FILES = ("weights", "gate")  # arguments that name files: what was in them is in the state


def read_stored(checkpoint: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments that build the Segmenter of a checkpoint, and the whole content of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a checkpoint of a Segmenter.
    """
    path = Path(checkpoint)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        options = dict(content["hyper_parameters"])
        if "arch" not in options or "label_weights" not in content["state_dict"]:
            raise KeyError("arch")
    except Exception as error:  # what torch.load raises depends on what the file is instead
        raise ValueError(f"{path} is not a checkpoint of hedgeseg's Segmenter: {error}") from error
    known = {key: value for key, value in options.items() if not key.startswith("_") and key not in _FILES}
    return known, content
