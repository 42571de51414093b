"""A seeded split of a data set that has none of its own."""

import numpy as np


def split_indices(count: int, train_fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Draws `train_fraction` of `count` indices; returns the drawn ones and the rest, both ascending.

    Raises:
        ValueError: the fraction leaves one of the two sets empty though it is not 0.
    """
    size = round(count * train_fraction)
    if train_fraction and not 0 < size < count:
        raise ValueError(
            f"train_fraction {train_fraction} of {count} images leaves no image to learn from or to validate on"
        )
    order = np.random.default_rng(seed).permutation(count)
    return sorted(order[:size].tolist()), sorted(order[size:].tolist())
