"""SeedGenerator: from an image and its labels to scores per class and a pseudo-mask.

The path of every map: attribution of all classes at once, positive part, smoothing scaled to the image, the views of
all scales and flips merged, each class divided by its maximum, methods fused, optionally spread over what the network
sees alike, background placed, optionally refined, argmax.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hedgeseg.seeds.background import Background, as_background, calibrate, cut
from hedgeseg.seeds.cutting import cut_seed
from hedgeseg.seeds.describe import described
from hedgeseg.seeds.fusion import FUSIONS, Fusion, fuse, normalise
from hedgeseg.seeds.learned_affinity import affinity_of, affinity_settings
from hedgeseg.seeds.looks import Alike, Looks, agreements, look
from hedgeseg.seeds.maps import MapFunction, as_sources
from hedgeseg.seeds.multiscale import Merge, merge, resize
from hedgeseg.seeds.picture import detail_of, picture_for
from hedgeseg.seeds.refine import Refine, as_refiner, refiner_of
from hedgeseg.seeds.seed import Seed, check_classes
from hedgeseg.seeds.spread import likeness
from hedgeseg.seeds.tiles import tiled
from hedgeseg.seeds.wanted import Wanted, alike_in_shape, one_image
from hedgeseg.visual import IMAGENET_MEAN, IMAGENET_STD


class SeedGenerator:
    """Makes the seed of one image from its labels.

    ```python
    generator = SeedGenerator(method="hedge", background=0.15, refine="crf")
    seed = generator(model, image, classes=[3, 14], size=(375, 500))
    seed.scores  # (2, 375, 500) in [0, 1]
    seed.mask    # uint8 (375, 500): 0 background, 4 and 15 the classes, 255 ignore
    seed.estimates  # {"flip": 0.81}, with several scales also "scale": how far the views agree on the mask
    ```

    Which settings: the defaults are one plain look that suits any network. On photographs the chain of
    `configs/coco_voc.yaml`, the last row, did best of what was measured (169 COCO photographs, several scales and
    mirrored; mean IoU with its 95 % interval, levels chosen on other photographs; `docs/seeds.md` has the whole table):

    | map, refiner                                   | MobileNetV2         | SqueezeNet 1.0      |
    |------------------------------------------------|---------------------|---------------------|
    | `method="grad_cam"`                            | 0.313 (0.273-0.343) | 0.274 (0.242-0.291) |
    | `method="grad_cam", refine="crf"`              | 0.337 (0.290-0.371) | 0.292 (0.241-0.322) |
    | `method="hedge", spread=True, refine="pamr"`   | 0.336 (0.293-0.366) | 0.325 (0.281-0.359) |
    | `method="rsp", spread=True, refine="pamr"`     | 0.375 (0.325-0.402) | 0.333 (0.288-0.366) |

    That is with ImageNet's weights. On networks that learnt the labels, hedging's coarse stages in the extent of
    FullGrad (`method=["hedge", "full_grad"], fuse="extent", hedge={"stages": "coarse"}`, spread, PAMR, `"auto"`) did
    best: 0.761 and 0.785 on 60 animals with two networks, 0.349 on 60 COCO photographs; hedging of the pixels has
    0.575, 0.574 and 0.246 there. RSP fails on such networks.

    A level suits a map, not a task: from 0.02 (hedging, unspread) to 0.5 (Grad-CAM, spread). `"auto"` follows the map:
    the mean of a class's scores and 0.75 of their deviation. Here that is of the image alone; `SeedWriter` and
    `hedgeseg refine` take all images of the class, which is better.

    Args:
        method: attribution method, a function `(model, images, targets) -> maps (N, T, h, w)`, `"files:DIR"` for maps
            that another tool made (`hedgeseg.seeds.file_maps`), or several of these to fuse.
        scales: factors of the image side to look at; their maps are merged.
        flip: also look at the mirrored image.
        background: `"auto"`, a number in [0, 1], or `"power"`, `"band"`, `"otsu"`, `"percentile"`, such a name with its
            settings (`{"band": {"low": 0.3, "high": 0.5}}`), or a rule of `hedgeseg.seeds.background`.
        refine: None, a refiner's name (`"crf"`, `"pamr"`, `"guided"`, `"random_walker"`, `"superpixels"`), a mapping
            from names to options, `{"regions": DIR}` for regions of files (`hedgeseg.seeds.refine.regions`), a function
            `(image uint8 HWC, probabilities) -> probabilities`, or a sequence of these, applied in order.
        merge: how views are merged: `"sum"`, `"max"` or `"mean"`.
        fuse: how several methods are fused: `"product"`, `"max"`, `"mean"`, or `"extent"`: of two methods the first
            says whose an object is and the second how far it goes, each spread on its own if at all.
        smoothing: sigma of the Gaussian as a fraction of the long side of the image; 0 turns it off.
        spread: give every place the mean score of the places whose features the network sees alike; or let scores walk
            between neighbours that belong together, as `hedgeseg affinity` learnt: `{"affinity": FILE}`.
        refine_side: longest side in pixels at which a refiner works; of larger seeds it sees a smaller copy.
        mean: per channel, what the image was normalised with, ImageNet's without it; used to show the refiner a
            picture, and to take other scales from one. (`SeedWriter` asks the data module.)
        std: see `mean`.
        tile: look at larger images through overlapping tiles of so many pixels, each explained alone
            (`hedgeseg.seeds.tiles`): memory follows the tile, so that large photographs keep their resolution.
        **method_options: go to `hedgeseg.attribution.attribute`; with several methods, `hedge={"gamma": 2.0}`.
            A network's only logit is that of class 0; `binary=True` says that it tells class 1 from class 0.

    Raises:
        ValueError: unknown names or values out of range.
        TypeError: options that fit no method.

    Example:
        >>> from hedgeseg.models import SmallCNN
        >>> seed = SeedGenerator(background=0.2)(SmallCNN(5).eval(), torch.randn(3, 32, 32), [1, 4])
        >>> seed.scores.shape, seed.mask.shape, seed.classes.tolist()
        (torch.Size([2, 32, 32]), torch.Size([32, 32]), [1, 4])
    """

    def __init__(
        self,
        method: str | MapFunction | Sequence[str | MapFunction] = "hedge",
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        background: float | str | Mapping[str, Mapping[str, Any]] | Background = "auto",
        refine: Refine = None,
        *,
        merge: Merge = "sum",
        fuse: Fusion = "product",
        smoothing: float = 0.02,
        spread: bool | Mapping[str, str] = False,
        refine_side: int = 1024,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        tile: int | None = None,
        **method_options: Any,
    ) -> None:
        if not scales or not all(scale > 0 for scale in scales):
            raise ValueError(f"scales must be one or more positive factors such as (0.5, 1.0, 1.5), got {scales}")
        if not 0 <= smoothing < 0.5:
            raise ValueError(f"smoothing is a fraction of the long side, such as 0.02, got {smoothing}")
        if refine_side < 1:
            raise ValueError(f"refine_side is a number of pixels such as 1024, got {refine_side}")
        if merge not in ("sum", "max", "mean"):
            raise ValueError(f"maps can be merged by sum, max or mean, not {merge!r}")
        if fuse not in FUSIONS:
            raise ValueError(f"maps can be fused by {', '.join(FUSIONS)}, not {fuse!r}")
        sources = as_sources(method, method_options)
        if fuse == "extent" and len(sources) != 2:
            raise ValueError(
                f"fuse='extent' takes two methods, one that tells classes apart and one that covers objects, such as "
                f"method=['hedge', 'full_grad'], got {len(sources)}"
            )
        self.sources = sources if tile is None else tuple(tiled(source, tile) for source in sources)
        self.scales = tuple(float(scale) for scale in scales)
        self.flip = flip
        self.background = as_background(background)
        self.refine = refine
        self.refiner = as_refiner(refine)
        self.merge = merge
        self.fuse = fuse
        self.smoothing = smoothing
        self.spread = spread if isinstance(spread, bool) else dict(spread)
        self._likeness = likeness if isinstance(spread, bool) else affinity_of(spread).walk
        self.refine_side = refine_side
        self._told = mean is not None or std is not None
        self.mean = tuple(IMAGENET_MEAN if mean is None else mean)
        self.std = tuple(IMAGENET_STD if std is None else std)

    @torch.no_grad()
    def __call__(
        self,
        model: nn.Module,
        image: Tensor,
        classes: Sequence[int] | Tensor,
        *,
        size: tuple[int, int] | None = None,
        picture: np.ndarray | Tensor | None = None,
        name: str | None = None,
    ) -> Seed:
        """Seed of one image.

        Args:
            model: classifier with logits (N, classes).
            image: float (C, H, W) or (1, C, H, W), normalised as the model takes it.
            classes: indices of the labels the image has; none of them gives a mask of background.
            size: (height, width) of the seed; the image's own without it.
            picture: uint8 (H, W, 3), the photograph that `image` was made of, whole. Scales other than 1 are taken
                from it, in its own detail; a refiner looks at it, and wants it of the seed's size.
            name: id of the image, by which its files are found: maps (`method="files:DIR"`) and regions.

        Raises:
            ValueError: an image that is not one image, NaN in it, classes that are repeated or out of range.
        """
        return self._seeds(model, [Wanted(image, classes, size, picture, name)], 1)[0]

    @torch.no_grad()
    def several(self, model: nn.Module, wanted: Sequence[Wanted], together: int = 8) -> list[Seed]:
        """Seeds of several images: the maps of images of one shape with equally many classes are made in one call.

        Args:
            model: classifier with logits (N, classes).
            wanted: the images; their order is that of the seeds.
            together: so many images at most are explained in one call, with `flip` twice as many rows.

        Raises:
            ValueError: as for one image.
        """
        if type(self).__call__ is not SeedGenerator.__call__:  # a subclass that makes one its own way makes all so
            return [self(model, w.image, w.classes, size=w.size, picture=w.picture, name=w.name) for w in wanted]
        return self._seeds(model, wanted, together)

    def _seeds(self, model: nn.Module, wanted: Sequence[Wanted], together: int) -> list[Seed]:
        images = [one_image(one.image) for one in wanted]
        indices = [check_classes(one.classes) for one in wanted]
        details = [self._detail(one.picture, image) for one, image in zip(wanted, images, strict=True)]
        made: dict[int, tuple[Looks, Alike | None]] = {}
        for group in alike_in_shape(images, indices, together):
            found = self._looks(
                model, [images[i] for i in group], [indices[i].tolist() for i in group], [details[i] for i in group],
                [wanted[i].name for i in group],
            )  # fmt: skip
            made.update(zip(group, found, strict=True))
        return [
            self._finished(one, image, found, *made[i])
            if len(found)
            else cut_seed(torch.zeros(0, *one.grid), found, self.background)
            for i, (one, image, found) in enumerate(zip(wanted, images, indices, strict=True))
        ]

    def _finished(self, wanted: Wanted, image: Tensor, indices: Tensor, looks: Looks, alike: Alike | None) -> Seed:
        """The seed of one image whose maps are made."""
        scores = self._scores(looks, wanted.grid, alike)
        estimates = self._estimates(looks, wanted.grid, alike)

        def shown() -> Tensor:
            return picture_for(wanted.picture, image, wanted.grid, self.mean, self.std)

        refiner = refiner_of(self.refiner, wanted.name)
        return cut_seed(scores, indices, self.background, refiner, shown, self.refine_side, estimates)

    def config(self) -> dict[str, Any]:
        """Everything that decides the seed beside the model and the image, as JSON holds it."""
        return {
            "method": [described(source) for source in self.sources],
            "scales": list(self.scales),
            "flip": self.flip,
            "background": described(self.background),
            "refine": described(self.refine),
            "merge": self.merge,
            "fuse": self.fuse,
            "smoothing": self.smoothing,
            "spread": self.spread if isinstance(self.spread, bool) else affinity_settings(self.spread),
            "refine_side": self.refine_side,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @torch.no_grad()
    def scores(
        self,
        model: nn.Module,
        image: Tensor,
        classes: Sequence[int],
        *,
        size: tuple[int, int] | None = None,
        picture: np.ndarray | Tensor | None = None,
        name: str | None = None,
    ) -> Tensor:
        """Scores (K, H, W) in [0, 1] of the given classes, before background and refinement, on the model's device.

        Unlike a mask, scores hold any class index (ImageNet has 1000).
        """
        image = one_image(image)
        size = size or (int(image.shape[-2]), int(image.shape[-1]))
        rows = [[int(index) for index in classes]]
        ((looks, alike),) = self._looks(model, [image], rows, [self._detail(picture, image)], [name])
        return self._scores(looks, size, alike)

    @property
    def wants_picture(self) -> bool:
        """Whether a photograph makes the seeds better: there is a refiner, or a scale other than 1."""
        return self.refiner is not None or any(scale != 1 for scale in self.scales)

    def normalised_as(self, mean: Sequence[float], std: Sequence[float]) -> SeedGenerator:
        """A copy for images of this normalisation; the same if the generator was told of one."""
        if self._told:
            return self
        other = copy(self)
        other.mean, other.std = tuple(mean), tuple(std)
        return other

    def _detail(self, picture: np.ndarray | Tensor | None, image: Tensor) -> Tensor | None:
        if picture is None or all(scale == 1 for scale in self.scales):
            return None
        return detail_of(picture, image, self.mean, self.std)

    def _looks(
        self,
        model: nn.Module,
        images: list[Tensor],
        classes: list[list[int]],
        details: list[Tensor | None],
        names: list[str | None],
    ) -> list[tuple[Looks, Alike | None]]:
        return look(
            model, images, classes, details, names, sources=self.sources, scales=self.scales, flip=self.flip,
            smoothing=self.smoothing, likeness=self._likeness if self.spread else None,
        )  # fmt: skip

    def _scores(self, looks: Looks, size: tuple[int, int], alike: Alike | None) -> Tensor:
        grid = size if alike is None else alike.size
        maps = [normalise(merge([resize(one, grid) for one in found], self.merge)) for found in looks]
        if alike is None:
            return fuse(maps, self.fuse)
        if self.fuse == "extent":
            return normalise(resize(fuse([alike.spread(one) for one in maps], self.fuse), size))
        return normalise(resize(alike.spread(fuse(maps, self.fuse)), size))

    def _estimates(self, looks: Looks, size: tuple[int, int], alike: Alike | None) -> dict[str, float]:
        def mask(part: Looks, size: tuple[int, int]) -> Tensor:
            scores = self._scores(part, size, alike)
            return cut([calibrate(scores, self.background.levels(scores)[0])], torch.arange(len(scores)))

        return agreements(looks, size, mask)
