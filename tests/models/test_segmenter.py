import pytest
import torch
import torchvision
from lightning.pytorch import Trainer, seed_everything
from torch import nn
from torchmetrics.classification import MulticlassJaccardIndex

from hedgeseg.data import ShapesDataModule
from hedgeseg.models import Segmenter, TrunkHead, UNet, build_segmentation_network
from hedgeseg.models.trunk_head import trunk_stages


def trainer(**more):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return Trainer(accelerator="cpu", enable_model_summary=False, **quiet, **more)


def shapes():
    return ShapesDataModule(num_train=16, num_val=4, num_predict=2, batch_size=4, image_size=32)


def test_fit_validate_test_and_predict():
    model, data, runner = Segmenter(6), shapes(), trainer(max_epochs=1)
    runner.fit(model, data)
    assert {"train/loss", "val/loss", "val/miou"} <= set(runner.callback_metrics)
    assert set(runner.test(model, data, verbose=False)[0]) == {"test/loss", "test/miou"}
    masks = torch.cat(runner.predict(model, data))
    assert masks.shape == (2, 32, 32)
    assert masks.dtype == torch.uint8
    assert masks.max() <= 6


def test_it_learns():
    seed_everything(0)
    data = shapes()
    data.setup()
    images = torch.stack([data.train_dataset[i]["image"] for i in range(4)])
    masks = torch.stack([data.train_dataset[i]["mask"] for i in range(4)])
    model = Segmenter(6).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model._loss(model(images), masks).backward()
        optimizer.step()
    metric = MulticlassJaccardIndex(7, ignore_index=255)
    assert metric(model.eval()(images).argmax(1), masks) > 0.6


def test_what_is_ignored_teaches_nothing_and_counts_nothing():
    logits = torch.randn(2, 4, 8, 8, requires_grad=True)
    masks = torch.randint(0, 4, (2, 8, 8))
    half = masks.clone()
    half[:, :4] = 255
    expected = nn.functional.cross_entropy(logits[:, :, 4:], masks[:, 4:])
    torch.testing.assert_close(Segmenter._loss(logits, half), expected)
    loss = Segmenter._loss(logits, torch.full_like(masks, 255))
    loss.backward()
    assert loss == 0
    assert logits.grad.isfinite().all()


def test_the_metric_pools_counts_over_batches():
    model = Segmenter(3)
    logits = torch.randn(6, 4, 16, 16)
    masks = torch.randint(0, 3, (6, 16, 16))
    masks[:, :3] = 255
    model.log = lambda *args, **kwargs: None
    model.forward = lambda images: images
    for part in (slice(0, 2), slice(2, 6)):
        model.validation_step({"image": logits[part], "mask": masks[part]}, 0)
    valid = masks != 255
    shares = []
    for label in range(4):
        said, true = logits.argmax(1)[valid] == label, masks[valid] == label
        if (said | true).any():
            shares.append(float((said & true).sum() / (said | true).sum()))
    assert float(model.val_metric.compute()) == pytest.approx(sum(shares) / len(shares), abs=1e-6)


def test_masks_are_needed():
    with pytest.raises(ValueError, match="PseudoMaskDataModule"):
        Segmenter(3).training_step({"image": torch.randn(1, 3, 16, 16)}, 0)


@pytest.mark.parametrize("side", [32, 45])
def test_the_u_net_keeps_the_size(side):
    assert UNet(5)(torch.randn(2, 3, side, side + 3)).shape == (2, 5, side, side + 3)


@pytest.mark.parametrize("arch", ["lraspp_mobilenet_v3_large", "fcn_resnet50", "deeplabv3_mobilenet_v3_large"])
def test_torchvisions_networks_give_logits(arch):
    network = build_segmentation_network(arch, 4).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 3, 64, 64)).shape == (1, 4, 64, 64)


@pytest.mark.parametrize("arch", ["mobilenet_v2", "squeezenet1_0", "resnet18", "small_cnn"])
def test_a_head_on_a_trunk(arch):
    network = build_segmentation_network(arch, 4).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 3, 65, 97)).shape == (1, 4, 65, 97)


def test_the_trunk_is_the_classifiers():
    classifier = torchvision.models.mobilenet_v2(num_classes=10).eval()
    head = TrunkHead(classifier, 4).eval()
    images = torch.randn(2, 3, 65, 65)
    with torch.no_grad():
        torch.testing.assert_close(head._maps(images)[-1], classifier.features(images))
    assert [m.shape[-1] for m in head._maps(images)] == [33, 17, 9, 5, 3]


def test_a_frozen_trunk_stays_as_it_is(tmp_path):
    torch.manual_seed(0)  # a network with batch norm: its statistics must stay too
    path = tmp_path / "weights.pth"
    torch.save(torchvision.models.mobilenet_v2(num_classes=1000).state_dict(), path)
    model = Segmenter(6, "mobilenet_v2", str(path), lr=0.1)
    before = {name: value.clone() for name, value in model.network.levels.state_dict().items()}
    mixed = model.network.mix[1].weight.clone()
    trainer(max_epochs=1, limit_val_batches=0, limit_train_batches=2).fit(model, shapes())
    after = model.network.levels.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not torch.equal(mixed, model.network.mix[1].weight)
    assert not model.train().network.levels.training
    assert Segmenter(6, "mobilenet_v2", str(path), freeze_trunk=False).network.levels[0][0][0].weight.requires_grad


def test_errors_name_the_remedy():
    with pytest.raises(ValueError, match=r"unknown architecture 'nonet'.*For segmentation there are also unet"):
        Segmenter(3, "nonet")
    with pytest.raises(ValueError, match="takes no weights"):
        Segmenter(3, "unet", "DEFAULT")
    with pytest.raises(ValueError, match="its trunk is not known"):
        trunk_stages(nn.Linear(2, 2))
