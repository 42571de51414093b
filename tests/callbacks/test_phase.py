"""When a training is looked at: the table of docs/callback.md, by running it."""

import warnings

import pytest
from callback_scenes import Classifier, loader
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from hedgeseg.callbacks import HedgeCallback
from hedgeseg.callbacks.phase import check_interval, due, first_validation


class Watched(HedgeCallback):
    """Notes after how many training batches it looked, and in which epoch."""

    def __init__(self, **kwargs):
        super().__init__(**{"on_error": "raise", "max_fraction": None, "max_images": 1, **kwargs})
        self.looks, self.sanity_checks = [], []

    def on_validation_epoch_end(self, trainer, pl_module):
        super().on_validation_epoch_end(trainer, pl_module)
        if self._found is not None:
            self.looks.append((trainer.current_epoch, trainer.global_step))
            self.sanity_checks.append(bool(self._sanity))


# every_n_epochs, arguments of the trainer (4 batches in an epoch) -> (epoch, step) of the looks
TABLE = {
    "every epoch": (1, {"max_epochs": 3}, [(0, 4), (1, 8), (2, 12)]),
    "the first, and every second": (2, {"max_epochs": 4}, [(0, 4), (1, 8), (3, 16)]),
    "2 of 2": (2, {"max_epochs": 4, "check_val_every_n_epoch": 2}, [(1, 8), (3, 16)]),
    "5 of 5": (5, {"max_epochs": 10, "check_val_every_n_epoch": 5}, [(4, 20), (9, 40)]),
    "1 of 2": (1, {"max_epochs": 4, "check_val_every_n_epoch": 2}, [(1, 8), (3, 16)]),
    "4 of 2": (4, {"max_epochs": 8, "check_val_every_n_epoch": 2}, [(1, 8), (3, 16), (7, 32)]),
    "2 of 3": (2, {"max_epochs": 6, "check_val_every_n_epoch": 3}, [(2, 12), (5, 24)]),
    "longer than the training": (9, {"max_epochs": 2}, [(0, 4)]),
    "quarters": (2, {"max_epochs": 2, "val_check_interval": 0.25}, [(0, 1), (1, 5), (1, 6), (1, 7), (1, 8)]),
    "every third batch": (1, {"max_epochs": 2, "val_check_interval": 3}, [(0, 3), (1, 7)]),
    "by steps": (
        2,
        {"max_epochs": 4, "check_val_every_n_epoch": None, "val_check_interval": 3},
        [(0, 3), (1, 6), (3, 15)],
    ),
    "max_steps": (2, {"max_epochs": -1, "max_steps": 9}, [(0, 4), (1, 8)]),
    "fast_dev_run": (5, {"fast_dev_run": 2}, [(0, 2)]),
    "few validation batches": (1, {"max_epochs": 1, "limit_val_batches": 1}, [(0, 4)]),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_table(make_trainer, case):
    every, kwargs, expected = TABLE[case]
    callback = Watched(every_n_epochs=every, metrics=False)
    trainer = make_trainer(callbacks=[callback], num_sanity_val_steps=1, **kwargs)
    trainer.fit(Classifier(), loader(4, 1, size=16), loader(2, 1, size=16))
    assert callback.looks == expected


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("validated", [1, 2, 3])
def test_whenever_a_checkpoint_with_the_same_interval_saves_there_was_a_look(every, validated):
    for epoch in range(validated - 1, 24, validated):
        if (epoch + 1) % every == 0:  # what lightning's ModelCheckpoint asks
            assert due(epoch, every)


class Saves(ModelCheckpoint):
    """Notes the epochs it was handed a value in, and the value."""

    def __init__(self, folder, **kwargs):
        super().__init__(folder, save_top_k=-1, filename="{epoch}", **kwargs)
        self.seen = {}

    def _save_checkpoint(self, trainer, filepath):
        super()._save_checkpoint(trainer, filepath)
        self.seen[trainer.current_epoch] = float(trainer.callback_metrics[self.monitor])


@pytest.mark.parametrize(("every", "validated"), [(2, 1), (2, 2), (3, 1), (4, 2)])
def test_a_checkpoint_with_the_same_interval_files_fresh_values(make_trainer, tmp_path, every, validated):
    watched = Watched(every_n_epochs=every, max_images=2)
    values = {}
    log = watched.refresh
    watched.refresh = lambda names, ends: (log(names, ends), values.update({trainer.current_epoch: dict(names)}))
    saves = Saves(tmp_path / "saved", monitor="hedge/positive_ratio", every_n_epochs=every)
    trainer = make_trainer(
        callbacks=[saves, watched], max_epochs=8, check_val_every_n_epoch=validated, enable_checkpointing=True
    )
    trainer.fit(Classifier(), loader(2, 2, size=16), loader(2, 2, size=16))
    assert set(saves.seen) == {epoch for epoch in range(8) if (epoch + 1) % every == 0}
    for epoch, value in saves.seen.items():
        assert value == pytest.approx(values[epoch]["hedge/positive_ratio"])


def test_sanity_checks_are_in_phase_too(make_trainer):
    callback = Watched(sanity_every_n_epochs=2)
    trainer = make_trainer(callbacks=[callback], max_epochs=4)
    trainer.fit(Classifier(), loader(2, 2, size=16), loader(2, 2, size=16))
    assert callback.sanity_checks == [True, True, False, True]


@pytest.mark.parametrize(
    ("every", "validated", "epochs", "meeting"), [(3, 2, 4, 6), (4, 3, 10, 12), (1, 5, 3, 5), (2, 10, 9, 10)]
)
def test_intervals_that_never_meet_are_refused_before_training(make_trainer, every, validated, epochs, meeting):
    trainer = make_trainer(
        callbacks=[HedgeCallback(every_n_epochs=every)], max_epochs=epochs, check_val_every_n_epoch=validated
    )
    module = Classifier()
    with pytest.raises(ValueError, match=f"every_n_epochs={every} .*={validated}.* epoch {meeting}, .*={epochs}"):
        trainer.fit(module, loader(2), loader(2))
    assert module.losses == []


def test_an_open_end_and_steps_are_not_refused():
    check_interval("every_n_epochs", 3, 2, -1)
    check_interval("every_n_epochs", 3, None, 2)
    check_interval("every_n_epochs", 100, 1, 2)


def test_when_the_first_validation_comes():
    assert first_validation(4, 4, 1) == 4
    assert first_validation(4, 1, 1) == 1
    assert first_validation(4, 4, 3) == 12
    assert first_validation(4, 100, None) == 100
    assert first_validation(4, float("inf"), 2) == 8


@pytest.mark.parametrize(
    "kwargs", [{"limit_val_batches": 0}, {"max_epochs": -1, "max_steps": 3, "check_val_every_n_epoch": 2}]
)
def test_a_training_without_a_validation_is_told_of(make_trainer, kwargs):
    stops = EarlyStopping("hedge/positive_ratio")
    trainer = make_trainer(callbacks=[HedgeCallback(), stops], **kwargs)
    with pytest.warns(UserWarning, match="no validation, so there is nothing to look at"):
        trainer.fit(Classifier(), loader(8, 4, size=16), loader(2, size=16))


def test_nothing_is_said_where_all_is_well(make_trainer):
    trainer = make_trainer(callbacks=[HedgeCallback(), EarlyStopping("hedge/positive_ratio")], max_epochs=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(Classifier(), loader(4, size=16), loader(2, size=16))
    assert [str(w.message) for w in caught if "HedgeCallback" in str(w.message)] == []
