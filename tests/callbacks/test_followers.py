"""What follows our metrics sees fresh values only, and no training ends for want of one."""

import pytest
import torch
from callback_scenes import Classifier, loader
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from hedgeseg.callbacks import HedgeCallback

NAME = "hedge/positive_ratio"


class Stops(EarlyStopping):
    """Notes the values it judged."""

    def __init__(self, name=NAME, **kwargs):
        super().__init__(name, **{"patience": 2, "mode": "min", **kwargs})
        self.judged = []

    def _evaluate_stopping_criteria(self, current):
        self.judged.append(float(current))
        return super()._evaluate_stopping_criteria(current)


def watching(**kwargs):
    return HedgeCallback(**{"max_fraction": None, "max_images": 2, "on_error": "raise", **kwargs})


def fit(make_trainer, callbacks, module=None, with_masks=True, **kwargs):
    trainer = make_trainer(callbacks=callbacks, **{"max_epochs": 6, **kwargs})
    trainer.fit(module or Classifier(), loader(2, 2, size=16), loader(2, 2, size=16, with_masks=with_masks))
    return trainer


SETTINGS = {
    "at the end of epochs": (2, {}, {}, [0, 1, 3, 5]),
    "after validations": (2, {}, {"check_on_train_epoch_end": False}, [0, 1, 3, 5]),
    "of epochs without validation": (2, {"check_val_every_n_epoch": 2}, {"check_on_train_epoch_end": True}, [1, 3, 5]),
    "within epochs": (3, {"val_check_interval": 0.5}, {}, [0, 2, 2, 5, 5]),
}


@pytest.mark.parametrize("case", SETTINGS)
@pytest.mark.parametrize("first", [True, False])
def test_early_stopping_judges_every_look_once(make_trainer, case, first):
    every, trainer_kwargs, kwargs, epochs = SETTINGS[case]
    stops = Stops(patience=100, **kwargs)
    epochs_judged = []
    judge = stops._evaluate_stopping_criteria
    stops._evaluate_stopping_criteria = lambda current: (epochs_judged.append(trainer.current_epoch), judge(current))[1]
    callbacks = [stops, watching(every_n_epochs=every)]
    trainer = make_trainer(callbacks=callbacks if first else callbacks[::-1], max_epochs=6, **trainer_kwargs)
    trainer.fit(Classifier(), loader(2, 1, size=16), loader(2, 2, size=16))
    assert epochs_judged == epochs


def test_kept_values_are_not_taken_for_no_improvement(make_trainer):
    stops = Stops(patience=3)
    trainer = fit(make_trainer, [watching(every_n_epochs=5), stops], max_epochs=8)
    assert trainer.current_epoch == 8
    assert stops.wait_count <= 1


def test_what_is_read_after_the_fit_is_the_last_value(make_trainer):
    trainer = fit(make_trainer, [watching(every_n_epochs=4), Stops()], max_epochs=5)
    assert 0 <= float(trainer.callback_metrics[NAME]) <= 1


def test_those_who_waited_are_as_strict_as_before(make_trainer):
    stops, lenient = Stops(), Stops("hedge/drift", strict=False)
    fit(make_trainer, [watching(), stops, lenient], max_epochs=1)
    assert (stops.strict, lenient.strict) == (True, False)

    class Breaks(Classifier):
        def training_step(self, batch, batch_idx):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fit(make_trainer, [watching(), stops], Breaks())
    assert stops.strict


@pytest.mark.parametrize("sanity", [0, 2])
def test_a_name_without_a_value_ends_no_training_and_is_told_of(make_trainer, tmp_path, sanity):
    stops = Stops("hedge/pointing_game")
    saves = ModelCheckpoint(tmp_path / "best", monitor="hedge/pointing_game", mode="max")
    callbacks = [watching(), stops, saves]
    with pytest.warns(
        UserWarning, match="'hedge/pointing_game', followed by Stops and ModelCheckpoint, .*mask or boxes"
    ):
        trainer = fit(make_trainer, callbacks, with_masks=False, enable_checkpointing=True, num_sanity_val_steps=sanity)
    assert trainer.current_epoch == 6
    assert stops.judged == []
    assert not list((tmp_path / "best").glob("*"))
    assert "hedge/pointing_game" not in trainer.callback_metrics


def test_drift_has_a_value_from_the_second_look_on(make_trainer, tmp_path):
    stops = Stops("hedge/drift", patience=9)
    saves = ModelCheckpoint(tmp_path, monitor="hedge/drift", save_top_k=-1)
    fit(make_trainer, [stops, watching(), saves], max_epochs=4, enable_checkpointing=True)
    assert len(stops.judged) == 3
    assert len(saves.best_k_models) == 3


@pytest.mark.parametrize(("kept", "looks"), [(2, 2), (4, 2), (-1, 2)])
def test_a_checkpoint_files_no_other_weights_under_a_kept_value(make_trainer, tmp_path, kept, looks):
    saves = ModelCheckpoint(tmp_path, monitor=NAME, save_top_k=kept)
    fit(make_trainer, [watching(every_n_epochs=3), saves], max_epochs=5, enable_checkpointing=True)
    values = [float(value) for value in saves.best_k_models.values()]
    assert sum(value < torch.inf for value in values) == looks  # in epochs 0 and 2
    assert len(values) == (5 if kept == -1 else kept)


def test_a_checkpoint_that_waits_in_vain_has_saved_something(make_trainer, tmp_path):
    saves = ModelCheckpoint(tmp_path, monitor="hedge/pointing_game", mode="max")
    fit(make_trainer, [watching(), saves], with_masks=False, max_epochs=2, enable_checkpointing=True)
    assert saves.best_model_score == -torch.inf
    assert len(list(tmp_path.glob("*.ckpt"))) == 1


def test_others_may_read_all_metrics_at_any_time(make_trainer, tmp_path):
    """As Ray's report callback does."""

    class Reads(Callback):
        def reads(self, trainer, *args):
            for value in trainer.callback_metrics.values():
                value.item()

        on_validation_epoch_end = on_validation_end = on_train_epoch_end = on_train_batch_end = on_fit_end = reads

    saves = ModelCheckpoint(tmp_path, monitor="hedge/pointing_game", mode="max")
    callbacks = [Reads(), watching(every_n_epochs=2), Reads(), saves, Stops()]
    fit(make_trainer, callbacks, with_masks=False, max_epochs=3, enable_checkpointing=True)


def test_a_module_that_steps_its_scheduler_itself(make_trainer):
    class Manual(Plateau):
        def __init__(self):
            super().__init__(NAME)
            self.automatic_optimization = False

        def on_train_epoch_end(self):
            self.lr_scheduler_step(self.lr_schedulers(), self.trainer.callback_metrics[NAME])

        def training_step(self, batch, batch_idx):
            self.manual_backward(super().training_step(batch, batch_idx))
            self.optimizers().step()

    module = Manual()
    fit(make_trainer, [watching(every_n_epochs=2)], module, max_epochs=3)
    assert len(module.steps) == 3


def test_a_name_of_another_loader_is_told_of(make_trainer):
    stops = Stops(f"{NAME}/dataloader_idx_1")
    with pytest.warns(UserWarning, match=r"is never logged: with these loaders names end in ''"):
        fit(make_trainer, [watching(), stops], max_epochs=1)
    with pytest.warns(UserWarning, match="dataloader_idx=3, but there are 1 loaders"):
        fit(make_trainer, [watching(dataloader_idx=3)], max_epochs=1)


def test_file_names_may_hold_a_value_that_is_missing(make_trainer, tmp_path):
    saves = ModelCheckpoint(tmp_path, monitor="hedge/drift", mode="min")
    names = ModelCheckpoint(tmp_path / "names", monitor="val_loss", filename="{epoch}-{hedge/drift:.2f}", save_top_k=-1)
    trainer = fit(make_trainer, [watching(), saves, names], max_epochs=2, enable_checkpointing=True)
    assert trainer.current_epoch == 2
    assert len(names.best_k_models) == 2
    with pytest.raises(ValueError, match=r"leave \{hedge/drift\} out of its filename"):
        fit(make_trainer, [watching(), saves, names, Stops("hedge/drift")], enable_checkpointing=True)


class Own(Classifier):
    """Logs under a prefix that the callback shares."""

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("val/own", 1.0, batch_size=1)


class Plateau(Classifier):
    """Follows a metric with its learning rate."""

    def __init__(self, name, interval="epoch"):
        super().__init__()
        self.name, self.interval, self.steps = name, interval, []

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=0)
        config = {"scheduler": scheduler, "monitor": self.name, "interval": self.interval}
        return {"optimizer": optimizer, "lr_scheduler": config}

    def lr_scheduler_step(self, scheduler, metric):
        self.steps.append(float(metric))
        super().lr_scheduler_step(scheduler, metric)


@pytest.mark.filterwarnings("ignore:ReduceLROnPlateau conditioned")
def test_a_scheduler_steps_at_looks_only(make_trainer):
    module = Plateau(NAME)
    trainer = fit(make_trainer, [watching(every_n_epochs=2)], module, max_epochs=4)
    assert len(module.steps) == 3
    assert trainer.lr_scheduler_configs[0].strict
    blind = Plateau("hedge/outside_inside")
    fit(make_trainer, [watching()], blind, with_masks=False)
    assert blind.steps == []


def test_resumed_between_two_looks(make_trainer, tmp_path):
    """The looks are where they would have been, and whoever follows them waits till then."""

    def callbacks():
        return [Stops(patience=50), watching(every_n_epochs=4), ModelCheckpoint(tmp_path / "x", monitor=NAME)]

    whole = callbacks()
    fit(make_trainer, whole, max_epochs=6, enable_checkpointing=True)
    first = fit(make_trainer, callbacks(), max_epochs=2, enable_checkpointing=True)
    first.save_checkpoint(tmp_path / "two.ckpt")
    second = callbacks()
    trainer = make_trainer(callbacks=second, max_epochs=6, enable_checkpointing=True)
    data = loader(2, 2, size=16)
    with pytest.warns(UserWarning, match="no value before the next look of the resumed training"):
        trainer.fit(Classifier(), data, data, ckpt_path=tmp_path / "two.ckpt", weights_only=True)
    assert trainer.current_epoch == 6
    assert len(whole[0].judged) == 2  # epochs 0 and 3
    assert len(second[0].judged) == 1


@pytest.mark.parametrize(
    ("callback", "name", "message"),
    [
        ({"metrics": False}, NAME, "never logs without metrics=True"),
        ({}, "hedge/sanity_spearman", "never logs without sanity_every_n_epochs"),
    ],
)
def test_a_name_that_never_has_a_value_is_refused(make_trainer, callback, name, message):
    with pytest.raises(ValueError, match=message):
        fit(make_trainer, [watching(**callback), Stops(name)])
    with pytest.raises(ValueError, match=message):
        fit(make_trainer, [watching(**callback)], Plateau(name))


def test_names_of_others_are_left_alone(make_trainer):
    stops = Stops("val_loss", patience=100)
    fit(make_trainer, [watching(every_n_epochs=3), stops], max_epochs=3)
    assert len(stops.judged) == 3
    fit(make_trainer, [watching(prefix="val"), Stops("val/own")], Own(), max_epochs=1)
    with (
        pytest.warns(UserWarning, match="did you mean hedge/pointing_game"),
        pytest.raises(RuntimeError, match="pointing_gam` which is not available"),
    ):
        fit(make_trainer, [watching(), Stops("hedge/pointing_gam")])
    with pytest.raises(RuntimeError, match="hedgehog/x"):
        fit(make_trainer, [watching(), Stops("hedgehog/x")])
