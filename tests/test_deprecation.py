"""Names that were given up still work, and say what to write instead."""

import importlib

import pytest

from hedgeseg.callbacks import DatasetAudit, MaskWriter, SeedWriter
from hedgeseg.data import ImageDataModule
from hedgeseg.data.transforms import eval_transform

MOVED = {
    "surroundings.class_names": "trainer_context.class_names",
    "memory.Memory": "drift.DriftTracker",
    "tolerance.Tolerance": "error_policy.ErrorPolicy",
    "watching.StageMonitor": "stage_monitor.StageMonitor",
    "watching.Watching": "stage_monitor.StageMonitor",
    "look.Look": "snapshot.Snapshot",
}


@pytest.mark.parametrize("old", MOVED)
def test_an_old_module_gives_what_the_new_one_does(old):
    (folder, name), (new, other) = old.split("."), MOVED[old].split(".")
    module = importlib.import_module(f"hedgeseg.callbacks.{folder}")
    with pytest.warns(FutureWarning, match=rf"{old} is now hedgeseg\.callbacks\.{MOVED[old]}"):
        found = getattr(module, name)
    assert found is getattr(importlib.import_module(f"hedgeseg.callbacks.{new}"), other)


def test_a_name_that_never_was_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Recollection"):
        importlib.import_module("hedgeseg.callbacks.memory").Recollection  # noqa: B018


class Plain(ImageDataModule):
    classes = ("a",)

    def __init__(self):
        super().__init__(32, 1, 0, 0)


def test_old_pipelines_of_a_data_module():
    module = Plain()
    with pytest.warns(FutureWarning, match="still is now eval_transform"):
        assert repr(module.still) == repr(module.eval_transform)
    with pytest.warns(FutureWarning, match="moving is now train_transform"):
        assert repr(module.moving) == repr(module.train_transform)


def test_a_subclass_may_give_its_pipeline_by_the_old_name():
    class Mine(Plain):
        @property
        def still(self):
            return eval_transform((8, 8))

    with pytest.warns(FutureWarning, match=r"Mine\.still is now eval_transform"):
        assert repr(Mine().eval_transform) == repr(eval_transform((8, 8)))


@pytest.mark.parametrize("writer", [SeedWriter, MaskWriter, DatasetAudit])
def test_which_classes_a_callback_is_about_was_called_classes(writer, tmp_path):
    with pytest.warns(FutureWarning, match="classes is now target") as told:
        assert writer(str(tmp_path / "folder"), classes="label").target == "label"
    assert told[0].filename == __file__
    with pytest.warns(FutureWarning), pytest.raises(ValueError, match="target is"):
        writer(str(tmp_path / "folder"), classes="some")
