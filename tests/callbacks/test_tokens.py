"""A transformer in a trainer: the callback with nothing to set, and an audit."""

import json

import pytest
import torch
from callback_scenes import Classifier, loader
from torch import nn
from torchvision.models import VisionTransformer

from hedgeseg.callbacks import DatasetAudit, HedgeCallback


def small_transformer():
    torch.manual_seed(0)
    network = VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=3)
    nn.init.normal_(network.heads.head.weight, std=0.2)  # starts at zero: all maps would be empty
    return network


def test_the_callback_needs_nothing_to_be_set(make_trainer, tmp_path):
    module = Classifier(small_transformer(), lr=0.01)
    make_trainer(max_epochs=1, callbacks=[HedgeCallback(on_error="raise")]).fit(module, loader(4), loader(4))
    [look] = sorted((tmp_path / "hedge").glob("epoch_*"))
    assert len(list(look.glob("*.png"))) == 4


def test_an_audit_explains_tokens(make_trainer, tmp_path):
    pytest.importorskip("sklearn")
    audit = DatasetAudit(str(tmp_path / "audit"))
    make_trainer(callbacks=[audit]).validate(Classifier(small_transformer()), loader(6), verbose=False)
    stored = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert not stored["failed"]
    assert len({image["id"] for image in stored["images"]}) == 6
    assert len({entry.mean.tobytes() for entry in audit.findings.evidence}) > 1
