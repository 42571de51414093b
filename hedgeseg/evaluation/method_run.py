"""A method with its options, as a person writes it: `hedge gamma=2`, `rise masks=500 limit=20`."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from hedgeseg.attribution import METHODS

_CALL = ("layer", "chunk")
"""Arguments of `attribute` that may be given beside the method's own options."""


@dataclass(frozen=True)
class MethodRun:
    """One row of a table.

    Attributes:
        label: what the row is called.
        method: a key of `METHODS`.
        options: of the method, and `layer` or `chunk` of `attribute`.
        limit: only so many images of the data set are explained, for methods that take minutes; None for all.
    """

    label: str
    method: str
    options: dict[str, Any]
    limit: int | None = None

    @classmethod
    def parse(cls, text: str) -> MethodRun:
        """Read `name option=value ... [limit=n]`; values are Python literals or else words.

        Raises:
            ValueError: unknown method or option, a part that is no `option=value`, or a limit below 1.
        """
        name, *parts = text.split()
        if name not in METHODS:
            raise ValueError(f"method {name!r} is unknown; choose among {', '.join(METHODS)}")
        options: dict[str, Any] = {}
        for part in parts:
            option, equals, value = part.partition("=")
            if not equals or not option:
                raise ValueError(f"{part!r} in {text!r}: write the options of a method as option=value")
            options[option] = _literal(value)
        limit = options.pop("limit", None)
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise ValueError(f"limit={limit!r} in {text!r}: must be a positive number of images")
        METHODS[name].with_defaults({k: v for k, v in options.items() if k not in _CALL})
        label = " ".join([name, *(part for part in parts if not part.startswith("limit="))])
        return cls(label, name, options, limit)

    @property
    def settings(self) -> dict[str, Any]:
        """Method and all options, defaults included: what decides the maps."""
        own = {k: v for k, v in self.options.items() if k not in _CALL}
        call = {k: self.options[k] for k in _CALL if k == "layer" and k in self.options}
        return {"method": self.method, **METHODS[self.method].with_defaults(own), **call}

    @property
    def key(self) -> str:
        """Name of its files: equal settings have equal keys, however they were written."""
        text = json.dumps(self.settings, sort_keys=True, default=str)
        words = re.sub(r"[^A-Za-z0-9.]+", "_", self.label).strip("_")
        return f"{words[:60]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text
