"""Training with the callback is bit for bit the training without it."""

import hashlib
import random
import warnings

import numpy as np
import pytest
import torch
from callback_scenes import Classifier, loader, small_network
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    StochasticWeightAveraging,
    WeightAveraging,
)
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.checkpoint import checkpoint

from hedgeseg.callbacks import HedgeCallback


def fingerprint(trainer, module):
    """sha256 of what training leaves: weights, buffers, gradients, optimiser state, losses, random states."""
    digest = hashlib.sha256()

    def add(value):
        if isinstance(value, torch.Tensor):
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(value, dict):
            for key in sorted(value, key=str):
                digest.update(str(key).encode())
                add(value[key])
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
        else:
            digest.update(repr(value).encode())

    add(module.state_dict())
    add([getattr(p.grad, "sum", lambda: None)() for p in module.parameters()])
    add([(name, m.training) for name, m in module.named_modules()])
    add([optimizer.state_dict() for optimizer in trainer.optimizers])
    add(module.losses)
    add([torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()])  # noqa: NPY002
    return digest.hexdigest()


class FrozenNorm(Classifier):
    """The user keeps batch norm in evaluation mode."""

    def __init__(self):
        super().__init__(small_network(dropout=0.3))

    def on_train_epoch_start(self):
        self.network[1].eval()
        self.network[1].requires_grad_(False)


class Counter(nn.Module):
    """A buffer that even an evaluation forward moves, and one that is not in the state dict."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("hidden", torch.zeros(()), persistent=False)

    def forward(self, x):
        self.calls += 1
        self.hidden = self.hidden + 1
        return x * (1 + 0.01 * self.calls) + 0.01 * self.hidden


class Manual(Classifier):
    def __init__(self):
        super().__init__(small_network(dropout=0.3))
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        optimizer = self.optimizers()
        self.manual_backward(loss)
        if batch_idx % 2:  # the user accumulates by hand, over the end of the epoch too
            optimizer.step()
            optimizer.zero_grad()


class Checkpointed(Classifier):
    def forward(self, images):
        features = checkpoint(self.network[:4], images, use_reentrant=False)
        return self.network[4:](features)


class Compiled(Classifier):
    def __init__(self):
        super().__init__()
        small = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
        self.network = torch.compile(small, backend="aot_eager")


class OneLogit(Classifier):
    def __init__(self):
        super().__init__(small_network(1, dropout=0.3))

    def training_step(self, batch, batch_idx):
        loss = binary_cross_entropy_with_logits(self(batch["image"]), batch["label"][:, :1])
        self.losses.append(float(loss.detach()))
        return loss

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self(batch["image"])


class Adam(Classifier):
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


class BFloat(Adam):
    def training_step(self, batch, batch_idx):
        loss = binary_cross_entropy_with_logits(self(batch["image"]), batch["label"].to(self.dtype))
        self.losses.append(float(loss.detach()))
        return loss

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self(batch["image"])


def plain():
    return Classifier(small_network(dropout=0.3))


CASES = {
    "plain": (plain, {}),
    "mid-accumulation": (plain, {"accumulate_grad_batches": 4, "val_check_interval": 3}),
    "frozen batch norm": (FrozenNorm, {}),
    "buffers that evaluation moves": (lambda: Classifier(nn.Sequential(Counter(), *small_network())), {}),
    "bf16-mixed": (Adam, {"precision": "bf16-mixed"}),
    "16-mixed": (Adam, {"precision": "16-mixed"}),
    "bf16-true": (BFloat, {"precision": "bf16-true"}),
    "gradient clipping": (plain, {"gradient_clip_val": 0.1}),
    "manual optimisation": (Manual, {}),
    "gradient checkpointing": (Checkpointed, {}),
    "deterministic": (plain, {"deterministic": True}),
    "anomaly detection": (plain, {"detect_anomaly": True, "inference_mode": False}),
    "quarters of an epoch": (plain, {"val_check_interval": 0.25, "max_epochs": 1}),
    "every second epoch": (plain, {"check_val_every_n_epoch": 2, "max_epochs": 4}),
    "every fifth epoch": (plain, {"check_val_every_n_epoch": 5, "max_epochs": 5}),
    "one logit": (OneLogit, {}),
}


def train(make_trainer, make_module, callbacks, resume=None, **kwargs):
    seed_everything(1, verbose=False)
    module = make_module()
    trainer = make_trainer(**{"max_epochs": 2, "callbacks": callbacks, **kwargs})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "HedgeCallback failed at explaining the images")
        trainer.fit(module, loader(20, shuffle=True), loader(), ckpt_path=resume, weights_only=True)
    torch.use_deterministic_algorithms(False)
    return trainer, module, fingerprint(trainer, module)


@pytest.mark.parametrize("case", CASES)
def test_training_is_what_it_was(make_trainer, case):
    make_module, kwargs = CASES[case]
    *_, without = train(make_trainer, make_module, [], **kwargs)
    callback = HedgeCallback(on_error="raise", sanity_every_n_epochs=1, target="predicted")
    trainer, _, with_callback = train(make_trainer, make_module, [callback], **kwargs)
    assert "hedge/positive_ratio" in trainer.callback_metrics
    assert with_callback == without


COMPANIONS = {
    "ema": lambda: [EMAWeightAveraging(decay=0.7)],
    "weight averaging": lambda: [WeightAveraging()],
    "swa": lambda: [StochasticWeightAveraging(0.01, swa_epoch_start=1)],
    "early stopping": lambda: [EarlyStopping("val_loss", min_delta=9, patience=2)],
}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("case", COMPANIONS)
def test_training_with_other_callbacks_is_what_it_was(make_trainer, case, first):
    kwargs = {"max_epochs": 4}
    without_trainer, _, without = train(make_trainer, plain, COMPANIONS[case](), **kwargs)
    callbacks = [*COMPANIONS[case](), HedgeCallback(on_error="raise", every_n_epochs=2)]
    trainer, _, with_callback = train(make_trainer, plain, callbacks if first else callbacks[::-1], **kwargs)
    assert trainer.current_epoch == without_trainer.current_epoch
    assert with_callback == without


def test_a_training_that_is_resumed_between_two_looks_is_what_it_was(make_trainer, tmp_path):
    def halves(callbacks):
        path = tmp_path / f"{len(callbacks())}.ckpt"
        trainer, *_ = train(make_trainer, plain, callbacks())
        trainer.save_checkpoint(path)
        return train(make_trainer, plain, callbacks(), max_epochs=5, resume=path)[2]

    assert halves(lambda: [HedgeCallback(on_error="raise", every_n_epochs=4)]) == halves(list)


def test_the_fingerprint_notices_a_callback_that_draws(make_trainer):
    from lightning.pytorch import Callback

    class Draws(Callback):
        def on_validation_epoch_end(self, trainer, pl_module):
            torch.rand(1)

    *_, without = train(make_trainer, plain, [])
    *_, drawn = train(make_trainer, plain, [Draws()])
    assert drawn != without


def test_training_is_what_it_was_when_attribution_fails(make_trainer):
    class FailsHalfWay(nn.Module):
        """Fails in evaluation, outside of the validation step: in the middle of an attribution."""

        def forward(self, x):
            if not self.training and not torch.is_grad_enabled() and self.armed:
                raise RuntimeError("half-way")
            return x

        armed = False

    class Arms(Classifier):
        def __init__(self):
            super().__init__(nn.Sequential(*small_network(), FailsHalfWay()))

        def validation_step(self, *args):
            self.network[-1].armed = False
            super().validation_step(*args)
            self.network[-1].armed = True

    callback = HedgeCallback()
    *_, without = train(make_trainer, Arms, [])
    *_, with_callback = train(make_trainer, Arms, [callback])
    assert callback._errors.warned
    assert with_callback == without


def test_a_compiled_network_is_not_compiled_again(make_trainer):
    results = []
    for callbacks in ([], [HedgeCallback(on_error="raise")]):
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        trainer, _, print_ = train(make_trainer, Compiled, callbacks)
        results.append((print_, torch._dynamo.utils.counters["stats"]["unique_graphs"]))
    torch._dynamo.reset()
    assert "hedge/pointing_game" in trainer.callback_metrics
    assert results[0] == results[1]
