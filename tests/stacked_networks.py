"""Networks that do not keep one image per row of dimension 0: flips and crops inside the model, patches, sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PLANS = (
    "averaged_features", "averaged_logits", "chunked_logits", "siamese", "siamese_calls", "interleaved", "crops",
    "crops_one_after_the_other", "patches", "sequence_first", "ends_sequence_first", "channels_before_images",
    "averaged_maps", "flipped_features",
)  # fmt: skip


class Stacked(nn.Module):
    """A small trunk and classifier behind one of `PLANS`, for images of at least 12 x 12."""

    def __init__(self, plan: str, classes: int = 5) -> None:
        super().__init__()
        self.plan = plan
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.mixer, self.behind = nn.Linear(8, 8), nn.Conv2d(8, 8, 3, padding=1)
        self.fc, self.pair = nn.Linear(8, classes), nn.Linear(16, classes)
        for name in ("running_mean", "running_var", "weight", "bias"):
            nn.init.uniform_(getattr(self.trunk[1], name), 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, self.plan)(x)

    def pooled(self, x: Tensor) -> Tensor:
        return self.trunk(x).mean((2, 3))

    def averaged_features(self, x: Tensor) -> Tensor:
        return self.fc(self.pooled(torch.cat([x, x.flip(3)])).view(2, len(x), -1).mean(0))

    def averaged_logits(self, x: Tensor) -> Tensor:
        return self.fc(self.pooled(torch.cat([x, x.flip(3)]))).unflatten(0, (2, -1)).mean(0)

    def chunked_logits(self, x: Tensor) -> Tensor:
        first, second = self.fc(self.pooled(torch.cat([x, x.flip(2)]))).chunk(2)
        return (first + second) / 2

    def siamese(self, x: Tensor) -> Tensor:
        return self.pair(torch.cat(self.pooled(torch.cat([x, x.flip(3)])).chunk(2), 1))

    def siamese_calls(self, x: Tensor) -> Tensor:
        return self.pair(torch.cat([self.pooled(x), self.pooled(x.flip(3))], 1))

    def interleaved(self, x: Tensor) -> Tensor:
        both = torch.stack([x, x.flip(3)], 1).flatten(0, 1)
        return self.fc(self.pooled(both).view(len(x), 2, -1).mean(1))

    def crops(self, x: Tensor) -> Tensor:
        crops = torch.stack([x[:, :, :10, :10], x[:, :, -10:, -10:], x[:, :, 1:11, 1:11]], 1).flatten(0, 1)
        return self.fc(self.pooled(crops).view(len(x), 3, -1)).mean(1)

    def crops_one_after_the_other(self, x: Tensor) -> Tensor:
        crops = [x[:, :, :8, :8], x[:, :, 4:12, 4:12], x]
        return torch.stack([self.fc(self.pooled(c)) for c in crops]).mean(0)

    def patches(self, x: Tensor) -> Tensor:
        cut = x.unfold(2, 6, 5).unfold(3, 6, 3).permute(0, 2, 3, 1, 4, 5)  # (N, gh, gw, C, 6, 6)
        return self.fc(self.pooled(cut.reshape(-1, *cut.shape[3:])).view(len(x), -1, 8).mean(1))

    def sequence_first(self, x: Tensor) -> Tensor:
        found = self.trunk(x)
        tokens = torch.relu(self.mixer(found.flatten(2).permute(2, 0, 1)))  # (HW, N, C)
        return self.fc(tokens.permute(1, 2, 0).unflatten(2, found.shape[2:]).mean((2, 3)))

    def ends_sequence_first(self, x: Tensor) -> Tensor:
        tokens = self.trunk(x).flatten(2).permute(2, 0, 1)
        return self.fc(torch.relu(self.mixer(tokens)).mean(0))

    def channels_before_images(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.trunk(x).transpose(0, 1) - 0.1).mean((2, 3)).t())

    def averaged_maps(self, x: Tensor) -> Tensor:
        maps = self.trunk(torch.cat([x, x.flip(3)])).unflatten(0, (2, -1))
        return self.fc(torch.relu(maps.mean(0)).mean((2, 3)))

    def flipped_features(self, x: Tensor) -> Tensor:
        found = self.trunk(x)
        maps = torch.relu(self.behind(torch.cat([found, found.flip(3)])))
        return self.fc(maps.mean((2, 3)).view(2, len(x), -1).mean(0))
