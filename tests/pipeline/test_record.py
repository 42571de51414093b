import json
import time

import pytest

from hedgeseg.pipeline.record import RECORD, open_stage, running


def test_the_same_settings_find_what_is_there(tmp_path):
    record = open_stage(tmp_path / "stage", {"lr": 0.1})
    (record.folder / "file").write_text("x")
    assert record.result is None
    record.finish({"value": float("nan"), "epoch": 3})
    again = open_stage(tmp_path / "stage", {"lr": 0.1})
    assert again.result == {"value": None, "epoch": 3}
    assert (again.folder / "file").is_file()
    assert again.changed == []


def test_other_settings_empty_the_folder_and_say_what_changed(tmp_path):
    record = open_stage(tmp_path / "stage", {"lr": 0.1, "data": {"size": 3}})
    (record.folder / "file").write_text("x")
    record.finish({})
    other = open_stage(tmp_path / "stage", {"lr": 0.1, "data": {"size": 4}})
    assert other.changed == ["data.size: 3 -> 4"]
    assert other.result is None
    assert not (other.folder / "file").exists()


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    (tmp_path / "photo.jpg").write_text("x")
    with pytest.raises(ValueError, match="holds files of something else"):
        open_stage(tmp_path, {})
    assert (tmp_path / "photo.jpg").is_file()


def test_time_adds_up_over_runs_and_is_noted_on_the_way(tmp_path):
    record = open_stage(tmp_path / "stage", {})
    with running(record, every=0.01):
        until = time.monotonic() + 30
        while json.loads((record.folder / RECORD).read_text())["seconds"] < 0.1:
            assert time.monotonic() < until
            time.sleep(0.01)
    again = open_stage(tmp_path / "stage", {})
    assert again.seconds >= 0.1
    again.finish({})
    assert again.seconds >= record.seconds - 0.1
