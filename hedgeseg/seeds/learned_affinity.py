"""A small head on a classifier's features that tells whether two places belong together, learnt from seeds alone.

In the manner of AffinityNet (Ahn & Kwak 2018) and IRN (Ahn et al. 2019): where the seeds are sure, neighbouring places
have the same label or another one. The trunk is frozen and its features, at strides of 8 and 16, are looked at once.
`hedgeseg affinity SEEDS --out CKPT` makes the file, `spread: {affinity: CKPT}` uses it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from os import PathLike
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hedgeseg.progress import progress as bar
from hedgeseg.seeds.formats.files import replacing
from hedgeseg.seeds.multiscale import resize
from hedgeseg.seeds.seed import IGNORE, Seed
from hedgeseg.seeds.spread import reduced, stride_maps
from hedgeseg.seeds.walk import Walk, affinities, apart, half_disc, walk

WIDTH = 64
BETA = 8.0
STEPS = 32
SURE = 0.5
"""Share of a label's pixels of an image that are sure: those of the largest confidence."""


class AffinityHead(nn.Module):
    """Two layers over every place, between features brought to mean 0 and deviation 1.

    Args:
        channels: of the joined features.
        beta: see `hedgeseg.seeds.walk.walk`.
        steps: of the walk.
    """

    def __init__(self, channels: int, beta: float = BETA, steps: int = STEPS) -> None:
        super().__init__()
        self.beta, self.steps, self.channels = beta, steps, channels
        self.mean: Tensor
        self.width: Tensor
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("width", torch.ones(channels, 1, 1))
        self.layers = nn.Sequential(nn.Conv2d(channels, WIDTH, 1), nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 1, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        """Embedding (WIDTH, h, w) of features (D, h, w)."""
        embedding: Tensor = self.layers(((features - self.mean) / self.width)[None])[0]
        return embedding

    @torch.no_grad()
    def walk(self, maps: Sequence[Tensor]) -> Walk:
        """The walk over an image, from its maps (1, D_i, h_i, w_i) at the strides.

        Raises:
            ValueError: maps of another network.
        """
        features = joined(maps)
        if len(features) != self.channels:
            raise ValueError(
                f"the affinity was learnt on {self.channels} channels of features, the network has {len(features)}: it "
                "is of another network"
            )
        self.to(features.device)
        return walk(self(features), self.beta, self.steps)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the head, whole or not at all."""
        settings = {"channels": self.channels, "beta": self.beta, "steps": self.steps}
        with replacing(Path(path)) as temporary:
            torch.save({"affinity": settings, "state_dict": self.state_dict()}, temporary)


def read_affinity(path: str | PathLike[str]) -> AffinityHead:
    """The head of a file that `AffinityHead.save` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is another kind of file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"spread: {{affinity: {path}}}: there is no such file; hedgeseg affinity makes it")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        settings = stored["affinity"]
        head = AffinityHead(int(settings["channels"]), float(settings["beta"]), int(settings["steps"]))
        head.load_state_dict(stored["state_dict"])
    except Exception as error:  # what torch.load raises depends on what the file is instead
        raise ValueError(f"{path} holds no affinity that hedgeseg learnt: {error}") from error
    return head.eval()


def affinity_of(spread: Mapping[str, str]) -> AffinityHead:
    """The head that `spread: {affinity: FILE}` names.

    Raises:
        ValueError: anything else is asked for, or the file is of another kind.
        FileNotFoundError: there is no such file.
    """
    if set(spread) != {"affinity"}:
        raise ValueError(f"spread is true, false or {{'affinity': FILE}}, got {dict(spread)}")
    return read_affinity(spread["affinity"])


def affinity_settings(spread: Mapping[str, str]) -> dict[str, str]:
    """The same with a hash in the place of the file: another head makes other seeds."""
    return {"affinity": sha256(Path(spread["affinity"]).read_bytes()).hexdigest()}


def joined(maps: Sequence[Tensor]) -> Tensor:
    """Features (D, h, w) of the places of an image on the finest of its grids."""
    size = max((tuple(found.shape[-2:]) for found in maps), key=lambda sides: sides[0] * sides[1])
    return torch.cat([resize(found[0].float(), (int(size[0]), int(size[1]))) for found in maps])


def sure_labels(seed: Seed, size: tuple[int, int], share: float = SURE) -> Tensor:
    """Labels int64 (h, w) of a seed on a grid: of each label the surest places, 255 elsewhere.

    A place has a label where most of its pixels have it.

    Args:
        seed: with its confidence; without one every place is sure.
        size: of the grid.
        share: of the places of a label that count as sure.
    """
    labels = torch.unique(seed.mask).tolist()
    shares = torch.stack([F.adaptive_avg_pool2d((seed.mask == label).float()[None], size)[0] for label in labels])
    most, winner = shares.max(0)
    found = torch.tensor(labels)[winner]
    found[most < 0.5] = IGNORE
    if seed.confidence is None:
        return found
    confidence = F.adaptive_avg_pool2d(seed.confidence[None], size)[0]
    for label in labels:
        there = found == label
        if label != IGNORE and bool(there.any()):
            values = confidence[there]
            least = values.kthvalue(max(1, round((1 - share) * values.numel()))).values
            found[there & (confidence < least)] = IGNORE
    return found


def pair_loss(embedding: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the affinities of sure pairs (Ahn & Kwak 2018, equations 5 to 8).

    A quarter counts pairs in the background, a quarter pairs in an object, half pairs of two labels.

    Args:
        embedding: float (D, h, w).
        labels: int64 (h, w), 255 for places that are not sure.
    """
    sums = embedding.new_zeros(3)
    counts = embedding.new_zeros(3)
    for (down, right), alike in zip(half_disc(), affinities(embedding), strict=True):
        here, there = apart(labels, down, right)
        sure = (here != IGNORE) & (there != IGNORE)
        alike = alike.clamp(1e-5, 1 - 1e-5)
        for kind, pairs in enumerate((sure & (here == there) & (here == 0), sure & (here == there) & (here != 0))):
            sums[kind] = sums[kind] - alike[pairs].log().sum()
            counts[kind] += pairs.sum()
        pairs = sure & (here != there)
        sums[2] = sums[2] - (1 - alike[pairs]).log().sum()
        counts[2] += pairs.sum()
    return (sums / counts.clamp(min=1) * sums.new_tensor([0.25, 0.25, 0.5])).sum()


@dataclass(frozen=True)
class Learning:
    """How the head is learnt.

    Attributes:
        epochs: how often every image is looked at.
        lr: of Adam.
        seed: of weights and order.
        beta: of the walk.
        steps: of the walk.
    """

    epochs: int = 5
    lr: float = 3e-3
    seed: int = 0
    beta: float = BETA
    steps: int = STEPS


def learn_affinity(
    model: nn.Module,
    names: Iterable[str],
    image: Callable[[str], Tensor],
    seed: Callable[[str], Seed],
    learning: Learning = Learning(),  # noqa: B008 - it is frozen
) -> AffinityHead:
    """Learn a head from the seeds of images.

    Args:
        model: the classifier, which stays as it is.
        names: ids of the images.
        image: gives the image (C, H, W) of an id as the model takes it.
        seed: gives its seed.
        learning: how.

    Raises:
        ValueError: no image with two labels that are sure, or a network without a stride of 8 or 16.
    """
    names = list(names)
    with tempfile.TemporaryDirectory(prefix="hedgeseg-affinity-") as folder, torch.random.fork_rng([]):
        torch.manual_seed(learning.seed)
        files, total, square, places = [], torch.zeros(()), torch.zeros(()), 0
        for number, name in enumerate(bar(names, "features", unit="image")):
            with torch.no_grad():
                features = joined(stride_maps(model, reduced(image(name))[None])).cpu()
            labels = sure_labels(seed(name), (int(features.shape[1]), int(features.shape[2])))
            if len(set(labels.unique().tolist()) - {IGNORE}) < 2:
                continue
            path = Path(folder, f"{number}.pt")
            torch.save((features.half(), labels.to(torch.uint8)), path)
            files.append(path)
            total = total + features.flatten(1).double().sum(1)
            square = square + features.flatten(1).double().square().sum(1)
            places += features[0].numel()
        if not files:
            raise ValueError("no seed has two labels that are sure: there is nothing to learn an affinity from")
        head = AffinityHead(len(total), learning.beta, learning.steps)
        mean = total / places
        head.mean.copy_(mean.view(-1, 1, 1))
        head.width.copy_((square / places - mean**2).clamp(min=0).sqrt().view(-1, 1, 1) + 1e-3)
        optimizer = torch.optim.Adam(head.layers.parameters(), lr=learning.lr)
        steps = learning.epochs * len(files)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        progress = bar((), "affinity", total=steps, unit="image")
        for _ in range(learning.epochs):
            for position in torch.randperm(len(files)).tolist():
                features, labels = torch.load(files[position], weights_only=True)
                with torch.enable_grad():
                    loss = pair_loss(head(features.float()), labels.long())
                    optimizer.zero_grad()
                    loss.backward()
                optimizer.step()
                schedule.step()
                progress.set_postfix({"loss": f"{float(loss.detach()):.3f}"}, refresh=False)
                progress.update()
        progress.close()
    return head.eval()
