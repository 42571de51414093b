"""scikit-image, imported where it is first needed."""

from __future__ import annotations

import importlib
from typing import Any


def skimage_segmentation(feature: str) -> Any:
    """The module `skimage.segmentation`.

    Raises:
        ImportError: scikit-image is not installed; the message says what to install.
    """
    try:
        return importlib.import_module("skimage.segmentation")
    except ImportError as error:
        raise ImportError(
            f"{feature} needs scikit-image, which the plain install leaves out: pip install 'hedgeseg[skimage]'"
        ) from error
