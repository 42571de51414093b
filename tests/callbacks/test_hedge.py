import json
import warnings

import numpy as np
import pytest
import torch
from callback_scenes import CLASSES, Classifier, Scenes, loader
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from torch.utils.data import DataLoader

from hedgeseg.callbacks import HedgeCallback

METRICS = {"pointing_game", "outside_inside", "positive_ratio", "class_discrimination", "drift", "images"}


class Keys(Callback):
    """Notes which images each look explained."""

    def __init__(self, callback):
        self.callback, self.seen = callback, []
        explain = callback.explainer.function

        def noting(model, images, targets, **options):
            self.seen.append((images.clone(), [list(t) for t in targets]))
            return explain(model, images, targets, **options)

        callback.explainer.function = noting


def strict(**kwargs):
    return HedgeCallback(**{"on_error": "raise", "max_fraction": None, **kwargs})


def test_fit_logs_metrics_and_writes_panels(make_trainer, tmp_path):
    trainer = make_trainer(callbacks=[strict(max_images=3)])
    trainer.fit(Classifier(), loader(), loader())
    logged = trainer.callback_metrics
    assert {f"hedge/{name}" for name in METRICS} <= set(logged)
    assert logged["hedge/images"] == 3
    assert 0 <= logged["hedge/pointing_game"] <= 1
    folders = sorted((tmp_path / "hedge").glob("epoch_*"))
    assert [f.name for f in folders] == ["epoch_000_step_000001", "epoch_001_step_000003"]
    for folder in folders:
        panels = sorted(folder.glob("*.png"))
        assert [p.name for p in panels] == [f"{i:03d}_scene_{i}.png" for i in range(3)]
        assert all(np.asarray(Image.open(p)).std() > 10 for p in panels)
        record = json.loads((folder / "look.json").read_text())
        assert {row["image"] for row in record["maps"]} == {"scene_0", "scene_1", "scene_2"}
        assert {row["class"] for row in record["maps"]} <= set(CLASSES)
        assert record["metrics"]["hedge/images"] == 3


def test_sanity_check_run_is_skipped(make_trainer, tmp_path):
    callback = strict()
    notes = Keys(callback)
    trainer = make_trainer(callbacks=[callback], num_sanity_val_steps=2, max_epochs=1)
    trainer.fit(Classifier(), loader(), loader())
    assert len(notes.seen) == 1


def test_the_same_images_at_every_look_though_the_loader_shuffles(make_trainer):
    callback = strict(max_images=4)
    notes = Keys(callback)
    make_trainer(callbacks=[callback], max_epochs=3).fit(Classifier(), loader(), loader(shuffle=True))
    assert len(notes.seen) == 3
    assert all(torch.equal(images, notes.seen[0][0]) for images, _ in notes.seen)


def test_one_map_per_class_of_the_image(make_trainer):
    callback = strict(max_images=4)
    notes = Keys(callback)
    make_trainer(callbacks=[callback], max_epochs=1).fit(Classifier(), loader(), loader())
    expected = [Scenes()[i]["label"].nonzero().flatten().tolist() for i in range(4)]
    assert notes.seen[0][1] == expected


def test_every_n_epochs(make_trainer, tmp_path):
    make_trainer(callbacks=[strict(every_n_epochs=2)], max_epochs=4).fit(Classifier(), loader(), loader())
    assert [p.name[:9] for p in sorted((tmp_path / "hedge").glob("epoch_*"))] == ["epoch_000", "epoch_001", "epoch_003"]


def test_a_checkpoint_can_follow_a_metric_that_is_not_there_every_epoch(make_trainer, tmp_path):
    checkpoint = ModelCheckpoint(tmp_path / "best", monitor="hedge/outside_inside", mode="min")
    trainer = make_trainer(callbacks=[strict(every_n_epochs=2), checkpoint], enable_checkpointing=True, max_epochs=4)
    trainer.fit(Classifier(), loader(), loader())
    assert checkpoint.best_model_score is not None


@pytest.mark.parametrize("stage", ["validate", "test"])
@pytest.mark.parametrize("inference_mode", [True, False])
def test_outside_a_fit(make_trainer, tmp_path, stage, inference_mode):
    trainer = make_trainer(callbacks=[strict()], inference_mode=inference_mode)
    [result] = getattr(trainer, stage)(Classifier(), loader(), verbose=False)
    assert result["hedge/images"] == 8
    assert "hedge/drift" not in result
    assert len(list((tmp_path / "hedge" / stage).glob("*.png"))) == 8


def test_predict_shows_panels_and_logs_nothing(make_trainer, tmp_path):
    trainer = make_trainer(callbacks=[strict()])
    trainer.predict(Classifier(), loader())
    assert len(list((tmp_path / "hedge" / "predict").glob("*.png"))) == 8
    assert trainer.callback_metrics == {}


def test_validation_gives_what_fit_gave(make_trainer):
    """In inference mode the same weights have the same explanations."""
    callback, module = strict(), Classifier()
    trainer = make_trainer(callbacks=[callback], max_epochs=1)
    trainer.fit(module, loader(), loader())
    in_fit = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("hedge/")}
    [after] = trainer.validate(module, loader(), verbose=False)
    assert {k: after[k] for k in in_fit} == pytest.approx(in_fit)


def test_a_checkpoint_can_follow_the_pointing_game(make_trainer, tmp_path):
    checkpoint = ModelCheckpoint(tmp_path / "best", monitor="hedge/pointing_game", mode="max", filename="best")
    trainer = make_trainer(callbacks=[strict(), checkpoint], enable_checkpointing=True, max_epochs=3)
    trainer.fit(Classifier(), loader(), loader())
    assert checkpoint.best_model_score is not None
    assert (tmp_path / "best" / "best.ckpt").is_file()


def test_several_loaders(make_trainer, tmp_path):
    trainer = make_trainer(callbacks=[strict(max_images=2)], max_epochs=1)
    trainer.fit(Classifier(), loader(), [loader(), loader(count=4, with_masks=False)])
    logged = trainer.callback_metrics
    assert "hedge/pointing_game/dataloader_idx_0" in logged
    assert "hedge/pointing_game/dataloader_idx_1" not in logged
    assert logged["hedge/positive_ratio/dataloader_idx_1"] > 0
    [folder] = (tmp_path / "hedge").glob("epoch_*")
    assert [len(list((folder / f"dataloader_idx_{i}").glob("*.png"))) for i in range(2)] == [2, 2]


def test_one_of_several_loaders(make_trainer):
    trainer = make_trainer(callbacks=[strict(max_images=2, dataloader_idx=1)], max_epochs=1)
    trainer.fit(Classifier(), loader(), [loader(), loader(count=4)])
    assert trainer.callback_metrics["hedge/images"] == 2
    assert not any("dataloader_idx" in name for name in trainer.callback_metrics if name.startswith("hedge"))


def test_without_masks_there_is_no_localisation(make_trainer):
    trainer = make_trainer(callbacks=[strict()], max_epochs=1)
    trainer.fit(Classifier(), loader(), loader(with_masks=False))
    assert "hedge/positive_ratio" in trainer.callback_metrics
    assert "hedge/pointing_game" not in trainer.callback_metrics


def test_metrics_can_be_left_out(make_trainer, tmp_path):
    trainer = make_trainer(callbacks=[strict(metrics=False)], max_epochs=1)
    trainer.fit(Classifier(), loader(), loader())
    assert not any(name.startswith("hedge") for name in trainer.callback_metrics)
    assert list((tmp_path / "hedge").glob("epoch_*/*.png"))


@pytest.mark.parametrize("target", ["predicted", 1, [0, 2]])
def test_targets(make_trainer, target):
    callback = strict(target=target)
    notes = Keys(callback)
    make_trainer(callbacks=[callback], max_epochs=1).fit(Classifier(), loader(), loader())
    rows = [row for _, targets in notes.seen for row in targets]
    assert len(rows) == 8
    if target != "predicted":
        assert all(row == ([target] if isinstance(target, int) else target) for row in rows)


@pytest.mark.parametrize("method", ["hedge", "grad_cam"])
def test_methods(make_trainer, method):
    trainer = make_trainer(callbacks=[strict(method=method)], max_epochs=1)
    trainer.fit(Classifier(), loader(), loader())
    assert "hedge/pointing_game" in trainer.callback_metrics


def test_sanity_metrics_every_other_epoch(make_trainer, tmp_path):
    trainer = make_trainer(callbacks=[strict(sanity_every_n_epochs=2)], max_epochs=3)
    trainer.fit(Classifier(), loader(), loader())
    looks = sorted((tmp_path / "hedge").glob("epoch_*/look.json"))
    checked = ["hedge/sanity_spearman" in json.loads(look.read_text())["metrics"] for look in looks]
    assert checked == [True, True, False]
    assert -1 <= trainer.callback_metrics["hedge/sanity_spearman"] <= 1
    assert "hedge/sanity_efficient_mprt" in trainer.callback_metrics


def test_drift_is_zero_for_a_model_that_stands_still(make_trainer):
    trainer = make_trainer(callbacks=[strict()])
    trainer.fit(Classifier(lr=0.0), loader(), loader())
    # Batch norm's running statistics move, the weights do not.
    assert trainer.callback_metrics["hedge/drift"] < 0.5
    frozen = make_trainer(callbacks=[strict()])
    module = Classifier(lr=0.0)
    module.network[1].momentum = 0.0
    frozen.fit(module, loader(), loader())
    assert frozen.callback_metrics["hedge/drift"] == pytest.approx(0, abs=1e-6)


def test_animations(make_trainer, tmp_path):
    make_trainer(callbacks=[strict(animation=True, max_images=2)], max_epochs=3).fit(Classifier(), loader(), loader())
    gifs = sorted((tmp_path / "hedge" / "animations").glob("*.gif"))
    assert [g.name for g in gifs] == ["000_scene_0.gif", "001_scene_1.gif"]
    assert Image.open(gifs[0]).n_frames == 3


def test_fast_dev_run_writes_nothing(make_trainer, tmp_path):
    make_trainer(callbacks=[strict()], fast_dev_run=True).fit(Classifier(), loader(), loader())
    assert not (tmp_path / "hedge").exists()


def test_a_second_fit_chooses_images_anew(make_trainer):
    callback = strict(max_images=2)
    notes = Keys(callback)
    make_trainer(callbacks=[callback], max_epochs=1).fit(Classifier(), loader(), loader())
    make_trainer(callbacks=[callback], max_epochs=1).fit(Classifier(), loader(), loader(size=24))
    assert [tuple(images.shape[-2:]) for images, _ in notes.seen] == [(32, 32), (24, 24)]


def test_images_of_several_sizes(make_trainer, tmp_path):
    """Batches of different sizes in one loader are explained group by group."""
    data = [DataLoader(Scenes(4, size=s), batch_size=2) for s in (32, 40)]
    batches = [batch for pair in zip(*data, strict=True) for batch in pair]
    mixed = DataLoader(batches, batch_size=None)
    trainer = make_trainer(callbacks=[strict()], max_epochs=1)
    trainer.fit(Classifier(), loader(), mixed)
    assert trainer.callback_metrics["hedge/images"] == 8


def broken_adapter(batch):
    raise RuntimeError("no such layout")


def test_an_error_is_a_warning_once_and_training_goes_on(make_trainer):
    callback = HedgeCallback(batch_adapter=broken_adapter)
    module = Classifier()
    trainer = make_trainer(callbacks=[callback], max_epochs=3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(module, loader(), loader())
    messages = [str(w.message) for w in caught if "HedgeCallback" in str(w.message)]
    assert messages == ["HedgeCallback failed at reading a batch, training goes on: RuntimeError: no such layout"]
    assert len(module.losses) == 6


def test_an_error_is_raised_on_request(make_trainer):
    trainer = make_trainer(callbacks=[strict(batch_adapter=broken_adapter)])
    with pytest.raises(RuntimeError, match="no such layout"):
        trainer.fit(Classifier(), loader(), loader())


def test_an_unknown_layer_is_named(make_trainer):
    trainer = make_trainer(callbacks=[HedgeCallback(layer="network.44")], max_epochs=1)
    with pytest.warns(RuntimeWarning, match=r"explaining the images.*network\.44"):
        trainer.fit(Classifier(), loader(), loader())


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"method": "hedgehog"}, "method='hedgehog' is unknown; the methods are"),
        ({"method": "grad_cam", "gamma": 2.0}, "gamma=2.0 is an option of method 'hedge'"),
        ({"method_options": {"gama": 2.0}}, "no option 'gama'"),
        ({"every_n_epochs": 0}, "every_n_epochs must be at least 1"),
        ({"max_images": 0}, "max_images must be at least 1"),
        ({"sanity_every_n_epochs": 0}, "sanity_every_n_epochs must be at least 1"),
        ({"target": "lable"}, "target is 'label'"),
        ({"on_error": "ignore"}, "on_error is"),
        ({"max_fraction": 2.0}, "max_fraction"),
    ],
)
def test_arguments_are_checked_at_once(kwargs, message):
    with pytest.raises(ValueError, match=message):
        HedgeCallback(**kwargs)


def test_two_callbacks_side_by_side(make_trainer, tmp_path):
    both = [strict(prefix="hedge"), strict(prefix="cam", method="grad_cam")]
    assert both[0].state_key != both[1].state_key
    trainer = make_trainer(callbacks=both, max_epochs=1, enable_checkpointing=True)
    trainer.fit(Classifier(), loader(), loader())
    assert {"hedge/pointing_game", "cam/pointing_game"} <= set(trainer.callback_metrics)


def test_a_resumed_run_goes_on_with_the_same_images(make_trainer, tmp_path):
    path = tmp_path / "last.ckpt"
    first = strict(max_images=3)
    trainer = make_trainer(callbacks=[first], max_epochs=1)
    trainer.fit(Classifier(), loader(), loader(shuffle=True))
    trainer.save_checkpoint(path)
    watched = [e.key for e in first._monitors["fit"].watchlist.examples(0)]

    second = strict(max_images=3)
    trainer = make_trainer(callbacks=[second], max_epochs=2)
    trainer.fit(Classifier(), loader(), loader(shuffle=True), ckpt_path=path, weights_only=True)
    assert [e.key for e in second._monitors["fit"].watchlist.examples(0)] == watched
    assert "hedge/drift" in trainer.callback_metrics  # the maps of the look before came with the checkpoint
    frames = second._showing.frames
    assert all(len(paths) == 2 for paths in frames.values())
