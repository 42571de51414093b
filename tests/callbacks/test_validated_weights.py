"""What was validated is what is explained, whoever averages weights and in whatever order the callbacks stand."""

import pytest
import torch
from callback_scenes import Classifier, loader, small_network
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EMAWeightAveraging, StochasticWeightAveraging, WeightAveraging
from torch.utils.data import DataLoader, IterableDataset

from hedgeseg.callbacks import HedgeCallback


class Validated(Classifier):
    """Notes its weights in every validation step."""

    def __init__(self, network=None):
        super().__init__(network)
        self.validated = None

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        super().validation_step(batch, batch_idx)
        self.validated = weights(self)


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def watching(module):
    """A callback that notes whether the weights it explains are those that were validated last."""
    callback = HedgeCallback(on_error="raise", max_fraction=None, max_images=2)
    explain, same = callback.explainer.function, []

    def noting(model, images, targets, **options):
        same.append(torch.equal(weights(model), module.validated))
        return explain(model, images, targets, **options)

    callback.explainer.function = noting
    return callback, same


class Own(Callback):
    """An average of one's own, swapped in and out between any two hooks."""

    def __init__(self, start, end):
        self.average = None
        setattr(self, start, self.swap)
        setattr(self, end, self.swap)

    def on_train_batch_end(self, trainer, pl_module, *args):
        now = [p.detach().clone() for p in pl_module.parameters()]
        self.average = now if self.average is None else [(a + b) / 2 for a, b in zip(self.average, now, strict=True)]

    def swap(self, trainer, pl_module):
        if self.average is not None:
            for p, mean in zip(pl_module.parameters(), self.average, strict=True):
                kept = p.detach().clone()
                p.data.copy_(mean)
                mean.copy_(kept)


class Stream(IterableDataset):
    """Data without a length."""

    def __iter__(self):
        data = loader(6, size=16).dataset
        return (data[i] for i in range(len(data)))


AVERAGING = {
    "ema": lambda: EMAWeightAveraging(decay=0.5),
    "weight averaging": WeightAveraging,
    "swa": lambda: StochasticWeightAveraging(0.01, swa_epoch_start=1),
    "own, epoch": lambda: Own("on_validation_epoch_start", "on_validation_epoch_end"),
    "own, validation": lambda: Own("on_validation_start", "on_validation_end"),
}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("case", AVERAGING)
def test_what_was_validated_is_explained(make_trainer, case, first):
    module = Validated()
    callback, same = watching(module)
    callbacks = [AVERAGING[case](), callback]
    trainer = make_trainer(callbacks=callbacks if first else callbacks[::-1])
    trainer.fit(module, loader(4, 2, size=16), loader(4, 2, size=16))
    assert len(same) >= 2
    assert all(same)


@pytest.mark.parametrize(
    "data",
    [
        [loader(4, 2, size=16), loader(2, 2, size=16)],
        DataLoader(Stream(), batch_size=2),
        [DataLoader(Stream(), batch_size=4), DataLoader(Stream(), batch_size=4)],
    ],
)
@pytest.mark.parametrize("limit", [1.0, 1])
def test_the_last_batch_is_known_of_any_loaders(make_trainer, data, limit):
    module = Validated()
    callback, same = watching(module)
    ema = EMAWeightAveraging(decay=0.5)
    trainer = make_trainer(callbacks=[ema, callback], limit_val_batches=limit, val_check_interval=0.5)
    trainer.fit(module, loader(4, 2, size=16), data)
    assert len(same) == 4 * (len(data) if isinstance(data, list) else 1)
    assert all(same)


def test_a_module_that_averages_its_own(make_trainer):
    module = Validated(small_network())
    callback, same = watching(module)
    own = Own("on_validation_epoch_start", "on_validation_epoch_end")
    module.on_validation_epoch_start = lambda: own.swap(None, module)
    module.on_validation_epoch_end = lambda: own.swap(None, module)
    averages = Callback()
    averages.on_train_batch_end = own.on_train_batch_end
    make_trainer(callbacks=[averages, callback]).fit(module, loader(4, 2, size=16), loader(2, 2, size=16))
    assert same == [True, True]
