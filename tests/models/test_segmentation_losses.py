import pytest
import torch
from torch.nn import functional as F

from hedgeseg.models.segmentation_losses import dice_loss, frequency_weights, pixel_loss


@pytest.fixture
def scene():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 8, 8, generator=generator)
    masks = torch.randint(0, 4, (3, 8, 8), generator=generator)
    masks[:, :2] = 255
    return logits, masks


def test_plain_it_is_cross_entropy(scene):
    logits, masks = scene
    torch.testing.assert_close(pixel_loss(logits, masks, 255), F.cross_entropy(logits, masks, ignore_index=255))


def test_weighted_it_is_weighted_cross_entropy(scene):
    logits, masks = scene
    weights = torch.tensor([0.2, 1.0, 3.0, 5.0])
    expected = F.cross_entropy(logits, masks, weights, ignore_index=255)
    torch.testing.assert_close(pixel_loss(logits, masks, 255, weights), expected)


def test_the_focal_loss_of_every_pixel(scene):
    logits, masks = scene
    shares = logits.softmax(1)
    losses = [
        -((1 - shares[n, masks[n, y, x], y, x]) ** 2) * shares[n, masks[n, y, x], y, x].log()
        for n in range(3)
        for y in range(2, 8)
        for x in range(8)
    ]
    torch.testing.assert_close(pixel_loss(logits, masks, 255, focus=2.0), torch.stack(losses).mean())


def test_a_wide_void_is_left_out_too(scene):
    logits, masks = scene
    wide = masks.masked_fill(masks == 255, 65535)
    torch.testing.assert_close(pixel_loss(logits, wide, 65535), pixel_loss(logits, masks, 255))
    torch.testing.assert_close(dice_loss(logits, wide, 65535), dice_loss(logits, masks, 255))


def test_dice_is_none_for_the_right_answer_and_the_mean_over_images(scene):
    logits, masks = scene
    right = F.one_hot(masks.clamp(max=3), 4).movedim(-1, 1) * 100.0
    assert dice_loss(right, masks, 255) == pytest.approx(0, abs=1e-5)
    assert dice_loss(-right, masks, 255) > 0.9
    alone = torch.stack([dice_loss(logits[i : i + 1], masks[i : i + 1], 255) for i in range(3)])
    torch.testing.assert_close(dice_loss(logits, masks, 255), alone.mean())


def test_nothing_to_learn_from_gives_no_loss_and_finite_gradients(scene):
    logits, masks = scene
    logits.requires_grad_()
    for loss in (pixel_loss(logits, masks * 0 + 255, 255), dice_loss(logits, masks * 0 + 255, 255)):
        assert loss == 0
        loss.backward()
    assert logits.grad.isfinite().all()


def test_weights_fall_with_the_share_and_stay_bounded():
    counts = torch.tensor([1_000_000, 10_000, 100, 0])
    weights = frequency_weights(counts, 1.0)
    assert weights.tolist() == pytest.approx([0.1, 1.0, 10.0, 1.0])
    assert frequency_weights(counts, 0.0).tolist() == [1.0] * 4
    assert frequency_weights(torch.zeros(3)).tolist() == [1.0] * 3
    with pytest.raises(ValueError, match="power"):
        frequency_weights(counts, 2.0)
