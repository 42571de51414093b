import pytest
import torch
from lightning.pytorch import Trainer

from hedgeseg.models import Classifier, Segmenter
from hedgeseg.models.image_gate import ImageGate, gated


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    classifier = Classifier(3, "small_cnn", task="multilabel")
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=False)
    trainer.strategy.connect(classifier)
    trainer.save_checkpoint(tmp_path / "classifier.ckpt", weights_only=True)
    return tmp_path / "classifier.ckpt", classifier.eval()


def test_the_logits_of_a_class_fall_by_how_little_the_image_shows_it():
    logits = torch.randn(2, 4, 5, 6)
    shown = torch.log(torch.tensor([[1.0, 0.5, 0.01], [0.2, 1.0, 1.0]]))
    found = gated(logits, shown, 2.0)
    assert torch.equal(found[:, 0], logits[:, 0])
    torch.testing.assert_close(logits[:, 1:] - found[:, 1:], (-2 * shown)[:, :, None, None].expand(2, 3, 5, 6))
    assert torch.equal(gated(logits, shown, 0.0), logits)
    torch.testing.assert_close(found[1:], gated(logits[1:], shown[1:], 2.0))


def test_the_gate_is_outside_of_training_and_in_the_checkpoint(checkpoint, tmp_path):
    path, classifier = checkpoint
    torch.manual_seed(1)
    module = Segmenter(3, "unet", gate=str(path), gate_strength=1.5)
    images = torch.randn(2, 3, 32, 32)
    assert not any(value.requires_grad for value in module.gate.parameters())
    module.train()
    assert not any(part.training for part in module.gate.modules())
    plain = module(images).detach()
    module.eval()
    expected = gated(module.network(images), classifier(images).sigmoid().log(), 1.5)
    torch.testing.assert_close(module(images), expected)
    assert plain.shape == expected.shape
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "segmenter.ckpt", weights_only=True)
    path.unlink()
    torch.testing.assert_close(Segmenter.load(tmp_path / "segmenter.ckpt")(images), expected)


def test_one_class_per_image_gates_by_softmax():
    gate = ImageGate("small_cnn", 3, multiclass=True)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(gate(images).exp().sum(1), torch.ones(2))
    torch.testing.assert_close(gate(images)[:1], gate(images[:1]))


def test_a_classifier_of_other_classes_is_refused(checkpoint, tmp_path):
    path, _ = checkpoint
    with pytest.raises(ValueError, match="knows 3 classes, the segmenter 2"):
        Segmenter(2, "unet", gate=str(path))
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        Segmenter(3, "unet", gate=str(tmp_path / "none.ckpt"))
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="not a checkpoint"):
        Segmenter(3, "unet", gate=str(tmp_path / "other.ckpt"))


def test_the_loss_may_look_at_every_so_manieth_pixel():
    module = Segmenter(2, "unet", loss_stride=3).train()
    module.log = lambda *args, **kwargs: None
    batch = {"image": torch.randn(2, 3, 32, 32), "mask": torch.randint(0, 3, (2, 32, 32))}
    loss = module.training_step(batch, 0)
    logits = module.network(batch["image"])[:, :, 1::3, 1::3]
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, batch["mask"][:, 1::3, 1::3]))
    with pytest.raises(ValueError, match="loss_stride"):
        Segmenter(2, "unet", loss_stride=0)
