"""Model-parameter randomisation test: does a map depend on what the model has learned?

Layers of a *copy* of the model are randomised, from the logits down, and the map of the randomised model is compared
with the original's. A map that stays the same explains the image, not the model (Adebayo et al., NeurIPS 2018).

How to read it: as pass or fail. Similarities cannot rank methods, because noisy maps look dissimilar whatever the
reason and because randomising from the top keeps the activations below (Binder et al., CVPR 2023). Efficient MPRT
compares no maps: it is the relative rise of a map's complexity, `(H(e') - H(e)) / H(e)` with H the entropy of the
map's 100-bin histogram, between the original and the fully randomised model (Hedström et al. 2024); above 0 passes.
Use three or more seeds.

Smooth MPRT (the same authors) keeps the comparison and takes the noise out of it: every map is a mean over noisy copies
of the image, and layers are randomised from the image up: `RandomizationSanity(model, smoothed(explain),
order="bottom_up")`. It costs 50 times as many maps.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from hedgeseg.metrics.map_metric import keep_apart, ordinary_tensors, warn_empty
from hedgeseg.metrics.model_randomization import (
    Order,
    check_order,
    randomizable_layers,
    randomize_all,
    randomized_models,
)
from hedgeseg.metrics.pairs import check_maps
from hedgeseg.metrics.similarity import spearman, ssim

__all__ = ["Explain", "RandomizationSanity", "efficient_mprt", "histogram_entropy", "smoothed"]

Explain: TypeAlias = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""A model, images `(B, C, H, W)` and targets int `(B,)` to maps float `(B, H, W)`."""

BINS = 100
SIMILARITIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "spearman": spearman,
    "spearman_abs": lambda first, second: spearman(first.abs(), second.abs()),
    "ssim": ssim,
}


def histogram_entropy(maps: Tensor, bins: int = BINS) -> Tensor:
    """Entropy, in nats, of each map's histogram between its minimum and maximum; float `(B,)`, 0 for a constant map.

    Raises:
        TypeError: if the maps are no floating-point tensor.
        ValueError: if a map holds NaN or infinity.
    """
    maps = check_maps(maps)
    values = maps.flatten(1)
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    position = ((values - low) / (high - low) * bins).nan_to_num(nan=0.0)
    share = torch.zeros(len(maps), bins, dtype=values.dtype, device=values.device)
    share.scatter_add_(1, position.long().clamp(max=bins - 1), torch.ones_like(values))
    return -torch.special.xlogy(share / values.shape[1], share / values.shape[1]).sum(1)


def efficient_mprt(original: Tensor, randomized: Tensor, bins: int = BINS) -> Tensor:
    """Relative rise of the histogram entropy from the trained to the randomised model's maps, float `(B,)`.

    NaN where the original map is constant.
    """
    before = histogram_entropy(original, bins)
    rise = (histogram_entropy(randomized, bins) - before) / before
    return rise.masked_fill(before == 0, torch.nan)


def smoothed(explain: Explain, samples: int = 50, noise: float = 0.1, seed: int = 0) -> Explain:
    """The same explanation as a mean over noisy copies of the image, as smooth MPRT compares.

    Every image gets the same noise, scaled by its own range, so that its map does not depend on its batch; and so do
    the original and the randomised model.

    Args:
        explain: makes the maps of the noisy copies.
        samples: number of copies, 50 in the paper.
        noise: standard deviation of the noise, as a share of the image's range (maximum minus minimum).
        seed: of the noise; the global random state is not used.

    Raises:
        ValueError: if there is no sample or the noise is negative.
    """
    if samples < 1 or noise < 0:
        raise ValueError(f"samples={samples} must be at least 1 and noise={noise} at least 0")

    def mean_map(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        spread = noise * (images.flatten(1).amax(1) - images.flatten(1).amin(1)).view(-1, 1, 1, 1)
        drawn = (torch.randn(images.shape[1:], generator=generator).to(images) for _ in range(samples))
        return torch.stack([explain(model, images + spread * unit, targets) for unit in drawn]).mean(0)

    return mean_map


class RandomizationSanity(Metric):
    """Similarity of maps before and after randomising a model, layer by layer, and efficient MPRT.

    `compute()` returns

    - `randomization_sanity`: mean over layers of Spearman's correlation; near 0 for a map that depends on the model;
    - `randomization_sanity_spearman`, `randomization_sanity_spearman_abs`, `randomization_sanity_ssim`: one value per
      layer of `metric.layers`, in that order; a pair with a constant map has no correlation and is left out;
    - `randomization_sanity_efficient_mprt`: mean relative rise of entropy, above 0 for a pass;
    - `randomization_sanity_maps`: number of comparisons per layer.

    The model is copied at every update, so weights that training has changed in between are the ones tested; its own
    parameters, buffers and modes stay as they are as long as `explain` leaves them so.

    Args:
        model: the model to test.
        explain: makes the maps, for example
            `lambda model, images, targets: attribute(model, images, targets).maps[:, 0]`.
        order: "cascading" (from the logits down, the layers above stay random), "bottom_up" (from the image up, the
            layers below stay random) or "independent" (one layer at a time).
        layers: names of the layers after which maps are compared; None for all, see `randomizable_layers`.
        seeds: the randomised parameters are drawn once per seed, results are averaged.
        kwargs: torchmetrics' own.

    Raises:
        ValueError: if a layer is unknown, the order is unknown or there is no seed.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    _model: nn.Module
    _explain: Explain
    total: Tensor
    count: Tensor
    rise: Tensor
    rises: Tensor
    seen: Tensor

    def __init__(
        self,
        model: nn.Module,
        explain: Explain,
        order: Order = "cascading",
        layers: Sequence[str] | None = None,
        seeds: Sequence[int] = (0,),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_order(order)
        if not seeds:
            raise ValueError("seeds must hold at least one number")
        known = randomizable_layers(model)
        unknown = [name for name in layers or () if name not in known]
        if unknown:
            raise ValueError(f"layer {unknown[0]!r} cannot be randomised; choose among {', '.join(known)}")
        # Around nn.Module's __setattr__: as a submodule the model would enter the metric's state_dict and move with it.
        object.__setattr__(self, "_model", model)
        object.__setattr__(self, "_explain", explain)
        keep_apart(self)
        self.order, self.seeds = order, tuple(seeds)
        chosen = [name for name in known if layers is None or name in layers]
        self.layers = tuple(chosen[::-1] if order == "bottom_up" else chosen)
        # The end of a cascade is the model with nothing of its training left, which efficient MPRT asks for.
        self._ends_in = {"cascading": known[-1], "bottom_up": known[0]}.get(order)
        shape = (len(SIMILARITIES), len(self.layers))
        self.add_state("total", torch.zeros(shape), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("rise", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("rises", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("seen", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def reset(self) -> None:
        """Forget everything; safe under inference mode."""
        with ordinary_tensors():
            super().reset()

    def update(self, images: Tensor, targets: Tensor, maps: Tensor | None = None) -> None:
        """Compare the maps of a batch with those of the randomised models.

        Args:
            images: float `(B, C, H, W)`, what `explain` takes.
            targets: int `(B,)`.
            maps: float `(B, H, W)`, the original maps if they are at hand; else `explain` makes them.

        Raises:
            ValueError: if a map holds NaN or infinity; the error names the layer that was randomised.
        """
        original = check_maps(self._explain(self._model, images, targets) if maps is None else maps)
        for seed in self.seeds:
            full = None
            for name, twin in randomized_models(self._model, self.layers, self.order, seed):
                changed = check_maps(self._explain(twin, images, targets), f"after randomising {name}, maps")
                self._compare(self.layers.index(name), original, changed)
                if name == self._ends_in:
                    full = changed
            if full is None:
                twin = randomize_all(self._model, seed)
                full = check_maps(self._explain(twin, images, targets), "after randomising all layers, maps")
            with ordinary_tensors():
                rise = efficient_mprt(original, full).to(self.device)
                self.rise = self.rise + rise.nan_to_num(nan=0.0).sum().to(self.rise.dtype)
                self.rises = self.rises + (~rise.isnan()).sum()
                self.seen = self.seen + len(original)

    def _compare(self, layer: int, original: Tensor, changed: Tensor) -> None:
        with ordinary_tensors():
            values = torch.stack([similarity(original, changed) for similarity in SIMILARITIES.values()])
            values = values.to(self.device, self.total.dtype)
            here = torch.arange(len(self.layers), device=self.device) == layer
            self.total = self.total + values.nan_to_num(nan=0.0).sum(1)[:, None] * here
            self.count = self.count + (~values.isnan()).sum(1)[:, None] * here

    def compute(self) -> dict[str, Tensor]:
        """Return the keys listed in the class's docstring as float tensors."""
        warn_empty(self, int(self.count[0].sum()), int(self.seen))
        curves = self.total / self.count
        result = {f"randomization_sanity_{name}": curve for name, curve in zip(SIMILARITIES, curves, strict=True)}
        return {
            "randomization_sanity": curves[0].nanmean(),
            **result,
            "randomization_sanity_efficient_mprt": self.rise / self.rises,
            "randomization_sanity_maps": self.seen.to(self.total.dtype),
        }
