"""What is in a data set, at a glance: counts of images, boxes and mask pixels per class, and sizes."""

from dataclasses import dataclass, field

import numpy as np

from hedgeseg.data.dataset import LabelledImages


@dataclass(frozen=True)
class Pixels:
    """What was found in the images and masks that were read.

    Attributes:
        read: number of images that were read, evenly spaced.
        sizes: height and width of the smallest, the median and the largest of them, by area.
        masks: how many of them have a mask.
        masks_of: class -> masks that show it.
        unseen: labels whose class the mask does not show.
        void: share of the masks' pixels that is void.
        background: share of the rest that is background.
        faults: image -> why its mask cannot be read.
        contradictions: image -> what its mask shows that its labels do not say.
    """

    read: int
    sizes: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    masks: int
    masks_of: dict[str, int]
    unseen: int
    void: float
    background: float
    faults: dict[str, str] = field(default_factory=dict)
    contradictions: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        small, median, large = (f"{height} x {width}" for height, width in self.sizes)
        lines = [f"sizes (height x width) of {self.read} images: {small} to {large}, median {median}"]
        if self.masks:
            lines.append(
                f"masks: {self.masks} of {self.read} images; {self.void:.1%} of their pixels void, of the others "
                f"{self.background:.1%} background; {self.unseen} labels without a pixel"
            )
        elif not self.faults:
            lines.append("masks: none")
        if self.faults:
            name, reason = next(iter(self.faults.items()))
            lines.append(
                f"masks that cannot be read: {len(self.faults)} of {self.read} images, such as {name}: {reason}"
            )
        if self.contradictions:
            name, reason = next(iter(self.contradictions.items()))
            lines.append(
                f"masks that contradict their labels: {len(self.contradictions)} of {self.masks}, such as {name}: "
                f"{reason}; masks hold 0 for background, class index + 1, and void, see mask_values"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class Description:
    """Counts of a data set.

    Attributes:
        name: of the data set.
        images: number of images.
        labels_per_image: mean number of classes in an image.
        images_of: class -> images that hold it.
        boxes_of: class -> boxes of it.
        pixels: what the images and masks that were read hold.
        left_out: what was skipped on loading, empty if nothing is known.
        negatives: images that show none of the classes.
    """

    name: str
    images: int
    labels_per_image: float
    images_of: dict[str, int]
    boxes_of: dict[str, int]
    pixels: Pixels
    left_out: str = ""
    negatives: int = 0

    def __str__(self) -> str:
        width = max(len(name) for name in (*self.images_of, "class"))
        head = (
            f"{self.name}: {self.images} images, {len(self.images_of)} classes, {self.labels_per_image:.2f} per image, "
            f"{sum(self.boxes_of.values())} boxes"
        )
        table = [f"{'class':<{width}}  {'images':>7}  {'boxes':>7}  {'masks':>7}"]
        table += [
            f"{name:<{width}}  {count:>7}  {self.boxes_of[name]:>7}  {self.pixels.masks_of[name]:>7}"
            for name, count in self.images_of.items()
        ]
        if self.negatives:
            table.append(f"{'(none)':<{width}}  {self.negatives:>7}")
        loading = [f"on loading, all splits: {self.left_out}"] if self.left_out else []
        return "\n".join([head, *loading, str(self.pixels), *table])


def describe(dataset: LabelledImages, name: str = "", limit: int | None = None) -> Description:
    """Counts labels and boxes of all images, and looks at the pixels of some.

    Args:
        dataset: any data set of the project.
        name: what the description calls it; its class by default.
        limit: how many images and masks are read at most; None reads all.
    """
    images, boxes = np.zeros(len(dataset.classes), int), np.zeros(len(dataset.classes), int)
    negatives = 0
    for index in range(len(dataset)):
        labels = dataset.labels(index)
        images[list(labels)] += 1
        negatives += not labels
        np.add.at(boxes, dataset.boxes(index)[1], 1)
    report = getattr(dataset, "report", None)
    return Description(
        name=name or type(dataset).__name__,
        images=len(dataset),
        labels_per_image=float(images.sum() / len(dataset)),
        images_of=dict(zip(dataset.classes, images.tolist(), strict=True)),
        boxes_of=dict(zip(dataset.classes, boxes.tolist(), strict=True)),
        pixels=survey(dataset, spread(len(dataset), limit)),
        left_out="" if report is None else str(report),
        negatives=negatives,
    )


def survey(dataset: LabelledImages, indices: list[int]) -> Pixels:
    """Reads the images and masks of some positions; there must be one or more."""
    sizes, shown = [], np.zeros(len(dataset.classes), int)
    masks = unseen = void = background = total = 0
    faults, contradictions = {}, {}
    for index in indices:
        mask, fault = mask_or_fault(dataset, index)
        if fault is not None:
            faults[dataset.ids[index]] = fault
        height, width = dataset.image(index).shape[:2] if mask is None else mask.shape
        sizes.append((int(height), int(width)))
        if mask is None:
            continue
        ids, counts = np.unique(mask, return_counts=True)
        present = ids[(ids > 0) & (ids != dataset.void)].astype(int) - 1
        shown[present] += 1
        strange = [dataset.classes[label] for label in present.tolist() if label not in dataset.labels(index)]
        if strange:
            said = ", ".join(dataset.classes[label] for label in dataset.labels(index)) or "none of the classes"
            contradictions[dataset.ids[index]] = f"the mask shows {', '.join(strange)}, the labels say {said}"
        unseen += len(set(dataset.labels(index)) - set(present.tolist()))
        masks += 1
        void += int(counts[ids == dataset.void].sum())
        background += int(counts[ids == 0].sum())
        total += mask.size
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    return Pixels(
        read=len(indices),
        sizes=(ordered[0], ordered[len(ordered) // 2], ordered[-1]),
        masks=masks,
        masks_of=dict(zip(dataset.classes, shown.tolist(), strict=True)),
        unseen=unseen,
        void=void / max(total, 1),
        background=background / max(total - void, 1),
        faults=faults,
        contradictions=contradictions,
    )


def mask_or_fault(dataset: LabelledImages, index: int) -> tuple[np.ndarray | None, str | None]:
    """The mask of an image, if there is one, or why it cannot be read."""
    try:
        return dataset.mask(index), None
    except (OSError, SyntaxError, ValueError) as error:
        return None, str(error)


def spread(count: int, limit: int | None) -> list[int]:
    """Up to `limit` evenly spaced positions of `count`, ascending, the first and the last among them."""
    wanted = count if limit is None else min(count, limit)
    return np.unique(np.linspace(0, count - 1, wanted).round().astype(int)).tolist()
