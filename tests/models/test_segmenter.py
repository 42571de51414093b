import pytest
import torch
import torchvision
from lightning.pytorch import Trainer, seed_everything
from torch import nn
from torchmetrics.classification import MulticlassJaccardIndex

from hedgeseg.data import ShapesDataModule
from hedgeseg.models import Segmenter, TrunkHead, UNet, build_segmentation_network
from hedgeseg.models.segmentation_losses import pixel_loss
from hedgeseg.models.trunk import as_trunk, trunk_stages


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
    torch.testing.assert_close(pixel_loss(logits, half, 255), expected)
    loss = pixel_loss(logits, torch.full_like(masks, 255), 255)
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
    assert float(model.metrics["val_miou"].compute()) == pytest.approx(sum(shares) / len(shares), abs=1e-6)


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
    trunk = TrunkHead(classifier, 4).eval().trunk
    images = torch.randn(2, 3, 65, 65)
    with torch.no_grad():
        maps = trunk(images)
        torch.testing.assert_close(maps[-1], classifier.features(images))
    assert [m.shape[-1] for m in maps] == [33, 17, 9, 5, 3]
    assert trunk.strides == [2, 4, 8, 16, 32]
    assert [m.shape[1] for m in maps] == trunk.channels


def test_a_frozen_trunk_stays_as_it_is(tmp_path):
    torch.manual_seed(0)  # a network with batch norm: its statistics must stay too
    path = tmp_path / "weights.pth"
    torch.save(torchvision.models.mobilenet_v2(num_classes=1000).state_dict(), path)
    model = Segmenter(6, "mobilenet_v2", str(path), lr=0.1)
    before = {name: value.clone() for name, value in model.network.trunk.state_dict().items()}
    mixed = model.network.mix[1].weight.clone()
    trainer(max_epochs=1, limit_val_batches=0, limit_train_batches=2).fit(model, shapes())
    after = model.network.trunk.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not torch.equal(mixed, model.network.mix[1].weight)
    assert not model.train().network.trunk.training
    assert (
        Segmenter(6, "mobilenet_v2", str(path), freeze_trunk=False).network.trunk.levels[0][0][0].weight.requires_grad
    )


def test_errors_name_the_remedy():
    with pytest.raises(ValueError, match=r"unknown architecture 'nonet'.*For segmentation there are also unet"):
        Segmenter(3, "nonet")
    with pytest.raises(ValueError, match="takes no weights"):
        Segmenter(3, "unet", "DEFAULT")
    with pytest.raises(ValueError, match="its trunk is not known"):
        trunk_stages(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"its trunk is not known.*timm/"):
        as_trunk(torchvision.models.vit_b_16(num_classes=2))
    with pytest.raises(ValueError, match="balance must lie in"):
        Segmenter(3, balance=2.0)
    with pytest.raises(ValueError, match="cross_entropy"):
        Segmenter(3, loss="hinge")


class Masked(ShapesDataModule):
    """Scenes whose validation masks were made from labels."""

    def setup(self, stage=None):
        super().setup(stage)
        plain = type(self.val_dataset).__getitem__

        class Pseudo(type(self.val_dataset)):
            def __getitem__(self, index):
                return {**plain(self, index), "pseudo": torch.tensor(True)}

        self.val_dataset.__class__ = Pseudo


def test_without_true_validation_masks_the_metric_says_so():
    runner = trainer(max_epochs=1)
    runner.fit(Segmenter(6), Masked(num_train=8, num_val=4, num_predict=2, batch_size=4, image_size=32))
    assert "val/pseudo_miou" in runner.callback_metrics
    assert "val/miou" not in runner.callback_metrics


def test_without_any_validation_mask_it_is_trained_all_the_same():
    class Blind(ShapesDataModule):
        def val_dataloader(self):
            return []

    runner = trainer(max_epochs=1)
    runner.fit(Segmenter(6), Blind(num_train=8, num_val=4, num_predict=2, batch_size=4, image_size=32))
    assert "train/loss" in runner.callback_metrics


def test_a_balanced_loss_counts_the_training_masks_and_goes_down():
    model, data = Segmenter(6, balance=1.0, dice=0.5, loss="focal"), shapes()
    trainer(max_epochs=1).fit(model, data)
    assert model.label_weights[0] < 0.5  # most of a scene is ground
    assert model.label_weights[1:].min() > model.label_weights[0]
    with pytest.raises(ValueError, match="balance counts the training masks"):
        trainer(max_epochs=1).fit(Segmenter(6, balance=1.0), data.train_dataloader())


def test_more_classes_than_eight_bits_tell_apart():
    masks = torch.randint(0, 301, (2, 16, 16))
    masks[:, :4] = 65535
    masks[:, 4] = 255  # a class like any other here
    model = Segmenter(300)
    loss = model.training_step({"image": torch.randn(2, 3, 16, 16), "mask": masks}, 0)
    assert loss.isfinite()
    model.log = lambda *args, **kwargs: None
    model.validation_step({"image": torch.randn(2, 3, 16, 16), "mask": masks}, 0)
    assert 0 <= model.metrics["val_miou"].compute() <= 1
    assert model.predict_step({"image": torch.randn(2, 3, 16, 16)}, 0).dtype == torch.int32


def test_a_checkpoint_needs_nothing_beside_it(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(torchvision.models.mobilenet_v2(num_classes=7).state_dict(), path)
    model, runner = Segmenter(6, "mobilenet_v2", str(path)), trainer(max_epochs=1, limit_train_batches=1)
    runner.fit(model, shapes())
    runner.save_checkpoint(tmp_path / "segmenter.ckpt", weights_only=True)
    path.unlink()
    read = Segmenter.load(tmp_path / "segmenter.ckpt")
    images = torch.randn(1, 3, 48, 48)
    with torch.no_grad():
        assert torch.equal(read(images), model.eval()(images))
    assert read.classes == shapes().classes
    assert read.input["image_size"] == [32, 32]
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="not a checkpoint of hedgeseg's Segmenter"):
        Segmenter.load(tmp_path / "other.ckpt")
    with pytest.raises(FileNotFoundError, match=r"nothing\.ckpt"):
        Segmenter.load(tmp_path / "nothing.ckpt")


def test_trunk_weights_of_a_classifiers_checkpoint_whatever_its_head(tmp_path, recwarn):
    classifier = torchvision.models.resnet18(num_classes=3)
    torch.save({"state_dict": {f"network.{k}": v for k, v in classifier.state_dict().items()}}, tmp_path / "c.ckpt")
    network = build_segmentation_network("resnet18", 5, str(tmp_path / "c.ckpt"))
    assert torch.equal(network.trunk.levels[0][0].weight, classifier.conv1.weight)
    assert not [w for w in recwarn if "untrained" in str(w.message)]


def test_backbones_of_torchvisions_networks_take_a_classifiers_weights(tmp_path):
    classifier = torchvision.models.mobilenet_v3_large(num_classes=3)
    torch.save(classifier.state_dict(), tmp_path / "c.pth")
    for arch in ("lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"):
        network = build_segmentation_network(arch, 5, str(tmp_path / "c.pth"), freeze_trunk=True)
        assert torch.equal(network.trunk["0"][0].weight, classifier.features[0][0].weight)
        assert not any(parameter.requires_grad for parameter in network.trunk.parameters())
        assert not network.train().trunk.training
    with pytest.raises(ValueError, match=r"does not fit the backbone of fcn_resnet50, a resnet50"):
        build_segmentation_network("fcn_resnet50", 5, str(tmp_path / "c.pth"))


def test_the_head_learns_faster_than_the_trunk():
    model = Segmenter(3, "resnet18", freeze_trunk=False, freeze_batch_norm=True, lr=1e-4, head_lr_factor=20.0)
    model.trainer = type("T", (), {"estimated_stepping_batches": 10})()
    optimizer = model.configure_optimizers()["optimizer"]
    slow, fast = optimizer.param_groups
    assert fast["max_lr"] == pytest.approx(20 * slow["max_lr"])
    assert {id(p) for p in slow["params"]} == {id(p) for p in model.network.trunk.parameters()}
    norms = [m for m in model.train().network.trunk.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)


@pytest.mark.parametrize("arch", ["timm/mobilenetv3_small_050", "timm/vit_tiny_patch16_224", "shufflenet_v2_x0_5"])
def test_any_trunk_of_torchvision_or_timm(arch):
    pytest.importorskip("timm")
    network = build_segmentation_network(arch, 3).eval()
    with torch.no_grad():
        alone = network(torch.ones(1, 3, 224, 224))
    assert alone.shape == (1, 3, 224, 224)
    assert alone.isfinite().all()
