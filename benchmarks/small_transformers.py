"""Three small networks with attention, trained where they are needed: a ViT and a Swin on shapes, a hybrid on animals.

    uv run benchmarks/small_transformers.py vit --out runs/transformers

The hybrid reads the 14 x 14 map of a frozen EfficientNet-Lite0 (ImageNet) as tokens; it learns the labels of
`--animals`, a folder in VOC's layout, with the weights of `--weights`. A network that is there is not trained again.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torchmetrics.functional.classification import multilabel_average_precision
from torchvision.models import SwinTransformer
from tqdm import tqdm

from hedgeseg.data.dataset import LabelledImages
from hedgeseg.data.shapes import Shapes
from hedgeseg.data.transforms import eval_transform
from hedgeseg.data.voc import VocDataModule

SIZES = {"vit": 64, "swin": 64, "hybrid": 224}
LITE0_MEAN, LITE0_STD = (0.498, 0.498, 0.498), (0.502, 0.502, 0.502)

Batches = Callable[[int], Iterator[tuple[Tensor, Tensor]]]


class Hybrid(nn.Module):
    """A frozen convolutional trunk whose map is read by transformer blocks with a class token.

    Args:
        num_classes: outputs.
        width: channels of a token.
        depth: number of blocks.
    """

    def __init__(self, num_classes: int, width: int = 96, depth: int = 2) -> None:
        super().__init__()
        # The stages up to stride 16: 112 channels at 14 x 14.
        self.trunk = timm.create_model(
            "tf_efficientnet_lite0", pretrained=False, features_only=True, out_indices=(3,)
        ).requires_grad_(False)
        self.tokens = VisionTokens(112, 14 * 14, width, depth, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images (N, 3, 224, 224)."""
        return self.tokens(self.trunk(images)[0])


class VisionTokens(nn.Module):
    """A ViT that reads a feature map (N, C, H, W), position by position."""

    def __init__(self, channels: int, positions: int, width: int, depth: int, num_classes: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(channels, width, 1)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 1 + positions, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits."""
        tokens = self.embed(features).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], 1) + self.position
        return self.head(self.blocks(tokens)[:, 0])


def build(name: str, num_classes: int) -> nn.Module:
    """An untrained network."""
    if name == "vit":
        return timm.models.VisionTransformer(
            img_size=64, patch_size=8, num_classes=num_classes, embed_dim=64, depth=4, num_heads=4, mlp_ratio=2
        )
    if name == "swin":
        return SwinTransformer([4, 4], 32, [2, 2], [2, 4], [4, 4], mlp_ratio=2, num_classes=num_classes)
    return Hybrid(num_classes)


def shapes(count: int, split: str) -> tuple[Tensor, Tensor]:
    """Normalised scenes (count, 3, 64, 64) and their labels (count, 6)."""
    data = Shapes(count, split, image_size=SIZES["vit"], transform=eval_transform(SIZES["vit"]))
    samples = [data[i] for i in tqdm(range(count), desc=f"scenes, {split}")]
    return torch.stack([s["image"] for s in samples]), torch.stack([s["label"] for s in samples]).float()


def animals(root: Path, split: str) -> LabelledImages:
    """A list of VOC's animals, at the hybrid's size and normalisation; labels from the masks."""
    module = VocDataModule(str(root), train_split="train_aug", labels="mask", image_size=SIZES["hybrid"])
    module.setup()
    dataset = module.train_dataset if split == "train" else module.val_dataset
    assert dataset is not None
    dataset.transform = eval_transform(SIZES["hybrid"], LITE0_MEAN, LITE0_STD)
    return dataset


@torch.no_grad()
def trunk_maps(network: Hybrid, dataset: LabelledImages, desc: str) -> tuple[Tensor, Tensor]:
    """The frozen trunk's maps of every image and of its mirror image, (count, 2, C, H, W), and the labels."""
    network.eval()
    maps, labels = [], []
    for i in tqdm(range(len(dataset)), desc=desc):
        sample = dataset[i]
        maps.append(network.trunk(torch.stack([sample["image"], sample["image"].flip(-1)]))[0])
        labels.append(sample["label"].float())
    return torch.stack(maps), torch.stack(labels)


def mirrored(images: Tensor) -> Tensor:
    """Every image with its mirror image, (count, 2, ...)."""
    return torch.stack([images, images.flip(-1)], 1)


def shuffled(pairs: Tensor, labels: Tensor, batch: int = 32) -> Batches:
    """Shuffled batches, each image straight or mirrored by chance."""

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(epoch)
        for rows in torch.randperm(len(pairs), generator=generator).split(batch):
            yield pairs[rows, torch.randint(2, (len(rows),), generator=generator)], labels[rows]

    return batches


def train(network: nn.Module, batches: Batches, steps: int, lr: float, epochs: int, desc: str) -> None:
    """AdamW with warm-up and a cosine, binary cross-entropy."""
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=lr, weight_decay=0.05)
    total, warm = steps * epochs, steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, (s + 1) / warm) * 0.5 * (1 + math.cos(math.pi * s / total))
    )
    network.train()
    bar = tqdm(range(epochs), desc=desc)
    for epoch in bar:
        for inputs, labels in batches(epoch):
            loss = nn.functional.binary_cross_entropy_with_logits(network(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}")
    network.eval()


@torch.no_grad()
def average_precision(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Mean average precision over the classes that occur."""
    logits = torch.cat([network(part) for part in inputs.split(64)])
    occurring = labels.sum(0) > 0
    values = multilabel_average_precision(logits, labels.long(), labels.shape[1], average="none")
    return float(values[occurring].mean())


def trained(name: str, out: Path, folder: Path | None = None, weights: Path | None = None) -> nn.Module:
    """The network, from `out` if it was trained before.

    Args:
        name: "vit", "swin" or "hybrid".
        out: Folder of the weights.
        folder: In VOC's layout, for the hybrid.
        weights: Folder with `tf_efficientnet_lite0.pth`, for the hybrid.
    """
    path = out / f"{name}.pth"
    torch.manual_seed(0)
    network = build(name, 20 if name == "hybrid" else 6)
    if path.is_file():
        network.load_state_dict(torch.load(path, weights_only=True))
        return network.eval()
    if name == "hybrid":
        if folder is None or weights is None:
            raise SystemExit("the hybrid needs --animals and --weights")
        state = torch.load(weights / "tf_efficientnet_lite0.pth", weights_only=True)
        network.trunk.load_state_dict({k: v for k, v in state.items() if k in network.trunk.state_dict()})
        part, pairs = network.tokens, trunk_maps(network, animals(folder, "train"), "trunk, train")
        train(part, shuffled(*pairs), math.ceil(len(pairs[0]) / 32), lr=1e-3, epochs=12, desc=name)
        held, labels = trunk_maps(network, animals(folder, "val"), "trunk, val")
        print(f"{name}: mean average precision on val {average_precision(part, held[:, 0], labels):.3f}")
    else:
        images, labels = shapes(3200, "train")
        train(network, shuffled(mirrored(images), labels), 100, lr=2e-3, epochs=24, desc=name)
        print(f"{name}: mean average precision on val {average_precision(network, *shapes(300, 'val')):.3f}")
    out.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    torch.save(network.state_dict(), partial)
    partial.replace(path)
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(SIZES), choices=[*SIZES, []])
    parser.add_argument("--animals", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/transformers"))
    arguments = parser.parse_args()
    for name in arguments.networks:
        trained(name, arguments.out, arguments.animals, arguments.weights)


if __name__ == "__main__":
    main()
