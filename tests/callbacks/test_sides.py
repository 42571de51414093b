"""Networks with one logit: labels 0 and 1 are its two sides."""

import json

import pytest
import torch
from callback_scenes import Classifier, small_network
from torch import nn
from torch.utils.data import DataLoader, Dataset

from hedgeseg import attribute
from hedgeseg.callbacks import HedgeCallback
from hedgeseg.callbacks.batches import Example
from hedgeseg.callbacks.explanations import Explainer
from hedgeseg.callbacks.sides import with_sides

CPU = torch.device("cpu")


def image(seed=0):
    return torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(seed))


def example(labels, exclusive, **kwargs):
    return Example("a", image(), labels, exclusive, **kwargs)


@pytest.mark.parametrize(
    ("labels", "exclusive", "side"), [((0,), True, 0), ((1,), True, 1), ((), False, 0), ((0,), False, 1)]
)
def test_labels_say_which_side(labels, exclusive, side):
    assert with_sides(example(labels, exclusive)).labels == (side,)


def test_a_plain_mask_is_that_of_the_positive_side():
    mask = torch.zeros(16, 16, dtype=torch.int64)
    mask[:4], mask[15] = 1, 255
    positive = with_sides(example((1,), True, mask=mask))
    assert int(positive.region(1).sum()) == 64
    assert positive.region(0) is None
    assert int(positive.valid.sum()) == 240
    by_convention = with_sides(example((1,), True, mask=torch.where(mask == 1, 2, mask)))
    assert torch.equal(by_convention.mask, positive.mask)
    boxed = example((0,), False, boxes=torch.tensor([[0.0, 0, 4, 4]]), box_labels=torch.tensor([0]))
    assert int(with_sides(boxed).region(1).sum()) == 16


def test_one_logit_may_be_that_of_one_class():
    network = small_network(1).eval()
    explainer = Explainer("hedge", "label", {"binary": False})
    [explanation] = explainer(network, [example((0,), False)], CPU)
    torch.testing.assert_close(explanation.maps, attribute(network, image()[None], [[1]]).maps[0])
    assert (explanation.classes, explanation.num_classes, explanation.sides) == ((0,), 1, False)
    assert not explainer.wants(example((), False))
    assert HedgeCallback(method_options={"binary": False}).explainer.options["binary"] is False


class Squeezed(nn.Module):
    """Logits (N,)."""

    def __init__(self):
        super().__init__()
        self.inner = small_network(1)

    def forward(self, x):
        return self.inner(x).squeeze(1)


@pytest.mark.parametrize("network", [lambda: small_network(1), Squeezed])
def test_maps_scores_and_predictions_are_those_of_the_side(network):
    torch.manual_seed(0)
    network = network().eval()
    twin = [attribute(network, image()[None], [[side]]).maps[0, 0] for side in (0, 1)]
    logit = float(network(image()[None]).reshape(()))
    probability = 1 / (1 + torch.tensor(-logit).exp().item())
    explainer = Explainer("hedge", "label", {})
    for side in (0, 1):
        [explanation] = explainer(network, [example((side,), True)], CPU)
        torch.testing.assert_close(explanation.maps[0], twin[side])
        assert explanation.scores == pytest.approx((probability if side else 1 - probability,))
        assert (explanation.num_classes, explanation.sides) == (2, True)
    [predicted] = Explainer("hedge", "predicted", {})(network, [example(None, True)], CPU)
    assert predicted.classes == (int(logit > 0),)
    assert predicted.scores[0] >= 0.5


class Tiles(Dataset):
    """Negative first, as in sorted folders; positives have a bright patch and a 0/1 mask."""

    def __init__(self, label, count=12):
        self.label, self.count = label, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        positive = int(index >= self.count // 2)
        picture, mask = 0.2 * image(index), torch.zeros(16, 16, dtype=torch.uint8)
        if positive:
            picture[:, 4:10, 4:10] += 2
            mask[4:10, 4:10] = 1
        return {"image": picture, "label": self.label(positive), "mask": mask, "id": f"{positive}_{index:02d}"}


LABELS = {
    "index": int,
    "float": float,
    "column": lambda positive: torch.tensor([float(positive)]),
    "index column": lambda positive: torch.tensor([positive]),
    "bool": bool,
}


class Binary(Classifier):
    def __init__(self):
        super().__init__(small_network(1))

    def training_step(self, batch, batch_idx):
        target = batch["label"].float().reshape(-1, 1)
        return nn.functional.binary_cross_entropy_with_logits(self(batch["image"]), target)

    def validation_step(self, batch, batch_idx):
        self.training_step(batch, batch_idx)


@pytest.mark.parametrize("target", ["label", "predicted", [0, 1]])
@pytest.mark.parametrize("label", LABELS)
def test_in_a_training(make_trainer, tmp_path, label, target):
    names = ("free", "crack") if label != "column" else ("crack",)
    callback = HedgeCallback(on_error="raise", target=target, class_names=names, max_images=4, max_fraction=None)
    trainer = make_trainer(callbacks=[callback], max_epochs=1)
    trainer.fit(Binary(), DataLoader(Tiles(LABELS[label]), 6), DataLoader(Tiles(LABELS[label]), 3))
    [path] = tmp_path.glob("hedge/epoch_*/look.json")
    rows = json.loads(path.read_text())["maps"]
    assert {row["image"][0] for row in rows} == {"0", "1"}
    assert {row["class"] for row in rows} <= {names[0] if len(names) == 2 else "not crack", "crack"}
    if target == "label":
        for row in rows:
            positive = row["image"].startswith("1")
            assert (row["class"] == "crack") == positive
            assert (row["pointing hit"] is not None) == positive
        assert "hedge/pointing_game" in trainer.callback_metrics
    else:
        assert sum(row["score"] for row in rows) >= 2 - 1e-6  # above one half each, or both sides of each image
