"""Whether there is something to learn: a class must be in some training images and not in all of them."""

import warnings
from collections.abc import Sequence


def check_teachable(
    classes: Sequence[str], labels: Sequence[Sequence[int]], others: Sequence[Sequence[int]], source: str
) -> None:
    """Looks at the labels of the training images.

    A class that every image has is refused: the network would say so of any picture, whatever it sees. A class that all
    or none of the training images have is told.

    Args:
        classes: names.
        labels: class indices of each training image.
        others: class indices of each image to validate or test on.
        source: what messages call the data.

    Raises:
        ValueError: a class is in every image, no class is in any, or a class is in the other images alone.
    """
    counts, elsewhere = _counts(labels, len(classes)), _counts(others, len(classes))
    everywhere = [name for name, count in zip(classes, counts, strict=True) if count == len(labels)]
    constant = [name for name in everywhere if elsewhere[classes.index(name)] == len(others)]
    if constant:
        raise ValueError(
            f"{source}: all {len(labels) + len(others)} images show {constant[0]!r}, so nothing could be learnt of it: "
            "any network that always says yes is right. Add images without it (a class folder of them, named with "
            "background; rows without a label; images without annotations), or leave the class out. To explain a "
            "network as it is, without training, give train_fraction 0"
        )
    missing = [name for name, count in zip(classes, counts, strict=True) if not count]
    if len(missing) == len(classes):
        raise ValueError(
            f"{source}: none of the {len(labels)} training images shows a class, so nothing could be learnt. If the "
            "split is that of the folders or of the table, split 'random' draws another from all images"
        )
    strange = [name for name, count in zip(classes, elsewhere, strict=True) if count and name in missing]
    if strange:
        raise ValueError(
            f"{source}: the images to learn from and to validate on differ in their classes: no training image shows "
            f"{strange}. Are names misspelt? split 'random' draws another split from all images"
        )
    if everywhere:
        warnings.warn(
            f"{source}: all {len(labels)} training images show {', '.join(everywhere)}, of which nothing can be learnt "
            "so; another seed draws another split",
            stacklevel=3,
        )
    if missing:
        warnings.warn(f"{source}: no training image shows {', '.join(missing)}", stacklevel=3)


def _counts(labels: Sequence[Sequence[int]], number: int) -> list[int]:
    counts = [0] * number
    for present in labels:
        for label in present:
            counts[label] += 1
    return counts
