"""Variables of the process for the duration of a block, as what others read while they are imported."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set variables of the process where they are not set, and take them away again.

    Args:
        **values: by name; a variable that has a value keeps it.
    """
    own = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)
