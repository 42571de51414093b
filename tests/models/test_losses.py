import pytest
import torch
from torch.nn import functional as F

from hedgeseg.models.losses import MULTILABEL_LOSSES, focal_loss

LOGITS = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
LABELS = (torch.rand(5, 4, generator=torch.Generator().manual_seed(1)) > 0.5).double()


def test_focal_loss_is_the_papers_equation():
    p = LOGITS.sigmoid()
    p_true = torch.where(LABELS == 1, p, 1 - p)
    alpha = torch.where(LABELS == 1, 0.25, 0.75)
    assert torch.allclose(focal_loss(LOGITS, LABELS), (-alpha * (1 - p_true) ** 2 * p_true.log()).mean())


def test_focal_loss_without_focus_and_balance_is_cross_entropy():
    expected = F.binary_cross_entropy_with_logits(LOGITS, LABELS)
    assert torch.allclose(focal_loss(LOGITS, LABELS, focus=0, balance=None), expected)
    assert torch.allclose(MULTILABEL_LOSSES["soft_margin"](LOGITS, LABELS), expected)


@pytest.mark.parametrize("name", MULTILABEL_LOSSES)
def test_extreme_logits_keep_losses_and_gradients_finite(name):
    logits = torch.tensor([[-1e4, 1e4, 0.0]], requires_grad=True)
    loss = MULTILABEL_LOSSES[name](logits, torch.tensor([[0.0, 1.0, 1.0]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
