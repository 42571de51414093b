"""No run's pictures join another's."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from callback_scenes import Classifier, loader
from lightning.pytorch.loggers import CSVLogger

from hedgeseg.callbacks import HedgeCallback
from hedgeseg.callbacks.run_folder import claim_folder


def test_each_claims_another(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda _: claim_folder(tmp_path / "runs", "hedge"), range(16)))
    assert {folder.name for folder in claimed} == {"hedge", *(f"hedge_{i}" for i in range(1, 16))}


def fit(make_trainer, epochs=2, callback=None, path=None, **kwargs):
    callback = callback or HedgeCallback(on_error="raise", max_fraction=None, max_images=1, animation=True)
    trainer = make_trainer(callbacks=[callback], max_epochs=epochs, **kwargs)
    data = loader(2, size=16)
    trainer.fit(Classifier(), data, data, ckpt_path=path, weights_only=True)
    return trainer, callback


def looks(folder):
    return sorted(path.name[:9] for path in folder.glob("epoch_*"))


def test_the_next_run_has_a_folder_of_its_own(make_trainer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, callback = fit(make_trainer, 2, default_root_dir=None)
    fit(make_trainer, 1, default_root_dir=None)
    fit(make_trainer, 3, callback, default_root_dir=None)
    assert [looks(tmp_path / name) for name in ("hedge", "hedge_1", "hedge_2")] == [
        ["epoch_000", "epoch_001"],
        ["epoch_000"],
        ["epoch_000", "epoch_001", "epoch_002"],
    ]


@pytest.mark.parametrize("moved", [False, True])
def test_a_resumed_run_goes_on_in_its_folder(make_trainer, tmp_path, moved):
    trainer, _ = fit(make_trainer, 1)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    if moved:
        (tmp_path / "hedge").rename(tmp_path / "elsewhere")
    _, callback = fit(make_trainer, 2, path=tmp_path / "one.ckpt")
    assert looks(tmp_path / "hedge") == (["epoch_001"] if moved else ["epoch_000", "epoch_001"])
    assert not (tmp_path / "hedge_1").exists()
    assert all(len(paths) == 2 for paths in callback._showing.frames.values())


def test_a_logger_with_folders_of_its_own(make_trainer, tmp_path):
    for version in range(2):
        fit(make_trainer, 1, logger=CSVLogger(tmp_path, name="csv", version=version))
        assert looks(tmp_path / "csv" / f"version_{version}" / "hedge") == ["epoch_000"]


def test_what_one_callback_sees_before_and_after_a_fit_is_in_one_folder(make_trainer, tmp_path):
    callback = HedgeCallback(on_error="raise", max_fraction=None, max_images=1)
    data, trainer = loader(2, size=16), make_trainer(callbacks=[callback], max_epochs=1)
    trainer.validate(Classifier(), data, verbose=False)
    trainer.fit(Classifier(), data, data)
    trainer.test(Classifier(), data, verbose=False)
    written = {path.name for path in (tmp_path / "hedge").iterdir()}
    assert written == {"images", "validate", "epoch_000_step_000000", "test"}
    assert not (tmp_path / "hedge_1").exists()


def test_a_run_that_shows_nothing_makes_no_folder(make_trainer, tmp_path):
    fit(make_trainer, limit_val_batches=0)
    assert not list(tmp_path.glob("hedge*"))
