"""What is kept of one explanation: small enough for every image of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Half = npt.NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a network's view of one class in one image rests on.

    Attributes:
        id: of the image, unique in its split.
        split: which part of the data it is of, such as "train" or "val".
        class_index: the class that was explained.
        probability: of that class, in [0, 1].
        correct: whether the network sees the class: it is the likeliest, or, of classes that do not exclude each other,
            likelier than not.
        map: float16 (G, G), signed, absolute sum 1.
        mean: float16 (C,), unit length: what the network sees where its evidence is (`profile.Profile`).
        peaks: float16 (P, C): the same at its strongest places.
        view: float16 (G, G, D): what the network sees at each place of the image (`view.view`); the same for all
            classes of an image.
        drops: float16 (P,): the fall of the probability without the evidence at each of the map's strongest places
            (`places.strongest`); NaN where there is no such place, or it was not measured.
        numbers: by name, NaN where one is not defined: `placement`, `positive_ratio`, `mirror`, `pointing`,
            `outside_inside`, `removal_drop`, `control_drop`.
        thumbnail: JPEG file of the image beside its overlay; empty without pictures.
    """

    id: str
    split: str
    class_index: int
    probability: float
    correct: bool
    map: Half
    mean: Half
    peaks: Half
    view: Half
    drops: Half
    numbers: Mapping[str, float] = field(default_factory=dict)
    thumbnail: bytes = b""

    @property
    def key(self) -> tuple[str, str, int]:
        """Split, image and class."""
        return self.split, self.id, self.class_index
