"""Small networks and data that the callbacks' tests share."""

import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, Dataset

CLASSES = ("square", "disc", "bar")


class Scenes(Dataset):
    """Bright patches on noise: image, multi-hot label, mask, boxes and id, from the index alone."""

    classes = CLASSES

    def __init__(self, count=8, size=32, with_masks=True):
        self.count, self.size, self.with_masks = count, size, with_masks

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        image = 0.3 * torch.randn(3, self.size, self.size, generator=generator)
        mask = torch.zeros(self.size, self.size, dtype=torch.int64)
        label = torch.zeros(len(CLASSES))
        for index_of_class in {index % 3, (index // 3) % 3}:
            top, left = torch.randint(0, self.size - 12, (2,), generator=generator).tolist()
            image[index_of_class, top : top + 12, left : left + 12] += 2
            mask[top : top + 12, left : left + 12] = index_of_class + 1
            label[index_of_class] = 1
        sample = {"image": image, "label": label, "id": f"scene_{index}"}
        return {**sample, "mask": mask} if self.with_masks else sample


def small_network(classes=3, dropout=0.0):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, classes),
    )


class Classifier(LightningModule):
    """The plainest user module: a network as an attribute, and nothing that knows of explanations."""

    def __init__(self, network=None, lr=0.05):
        super().__init__()
        self.network = small_network() if network is None else network
        self.lr = lr
        self.losses = []

    def forward(self, images):
        return self.network(images)

    def training_step(self, batch, batch_idx):
        loss = binary_cross_entropy_with_logits(self(batch["image"]), batch["label"])
        self.losses.append(float(loss.detach()))
        return loss

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("val_loss", binary_cross_entropy_with_logits(self(batch["image"]), batch["label"]))

    test_step = validation_step

    def predict_step(self, batch, batch_idx, dataloader_idx=0):
        return self(batch["image"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)


def loader(count=8, batch_size=4, shuffle=False, **kwargs):
    return DataLoader(Scenes(count, **kwargs), batch_size=batch_size, shuffle=shuffle)
