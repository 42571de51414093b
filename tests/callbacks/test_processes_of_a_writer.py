"""A folder that several processes of one writer fill: the files of one process, whatever happens to the others."""

import os
import signal
import time
import warnings
import zipfile

import numpy as np
import pytest
import torch
from callback_scenes import Classifier, Scenes
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import nn
from torch.utils.data import DataLoader

from hedgeseg.callbacks import MaskWriter, SeedWriter
from hedgeseg.forked import can_fork, one_thread
from hedgeseg.seeds import SeedGenerator

pytestmark = pytest.mark.skipif(not can_fork(torch.device("cpu")), reason="forks cannot compute here")

HOME = os.getpid()


class Shown(Scenes):
    """Scenes with their index, by which a refiner finds the photograph."""

    def __getitem__(self, index):
        return {**super().__getitem__(index), "index": index}

    def image(self, index):
        return (super().__getitem__(index)["image"].permute(1, 2, 0).clamp(0, 1) * 255).to(torch.uint8).numpy()


def predict(make_trainer, writer, count=21, module=None, data=None):
    torch.manual_seed(0)
    trainer = make_trainer(callbacks=[writer])
    data = data or DataLoader(Shown(count), batch_size=5)
    trainer.predict(module or Classifier(), data, return_predictions=False)
    return writer


def files(folder):
    return {
        path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in (".png", ".npz", ".json")
    }


OPTIONS = {"flip": True, "spread": False, "background": "auto", "refine": "guided"}


@pytest.fixture
def alone(make_trainer, tmp_path):
    """Files that one process makes."""
    with one_thread():
        predict(make_trainer, SeedWriter(str(tmp_path / "alone"), OPTIONS, on_error="raise"))
    return files(tmp_path / "alone")


@pytest.mark.parametrize("options", [{"processes": 2}, {"processes": 3, "together": 2}])
def test_the_files_of_one_process(make_trainer, tmp_path, alone, options):
    writer = predict(make_trainer, SeedWriter(str(tmp_path / "two"), OPTIONS, on_error="raise", **options))
    assert writer.counts == {"written": 21, "skipped": 0, "failed": 0}
    found = files(tmp_path / "two")
    assert found.keys() == alone.keys()
    if "together" not in options:  # whose rounding depends on the company
        assert found == alone


def test_a_run_that_was_stopped_goes_on(make_trainer, tmp_path, alone):
    folder = tmp_path / "seeds"
    predict(make_trainer, SeedWriter(str(folder), OPTIONS, processes=2))
    for name in ("scene_0", "scene_3", "scene_20"):
        (folder / f"{name}.png").unlink()
    writer = predict(make_trainer, SeedWriter(str(folder), OPTIONS, processes=2))
    assert writer.counts == {"written": 3, "skipped": 18, "failed": 0}
    assert files(folder) == alone


def test_as_many_as_torch_has_threads_where_a_command_asks(make_trainer, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(SeedWriter, "_write_side_by_side", lambda self, *_: seen.append(self._side_by_side))
    cases = ((None, False, 4, None), (None, True, 4, 4), (None, True, 64, 8), (2, True, 4, 2), (1, True, 4, None))
    for processes, asked, threads, count in cases:
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        writer = SeedWriter(str(tmp_path / f"{processes}_{asked}_{threads}"), processes=processes)
        if asked:
            writer.take_all_cores()
        seen.clear()
        predict(make_trainer, writer, 3)
        assert set(seen) == ({count} if count else set())


def test_an_image_that_fails_is_named_once_and_the_others_are_there(make_trainer, tmp_path):
    contrast = [float(Scenes(21)[i]["image"].std()) for i in range(21)]
    limit = sorted(contrast)[3]

    def method(model, images, targets):
        if float(images.std()) < limit:
            raise RuntimeError("a dull image")
        return torch.rand(len(images), len(targets[0]), *images.shape[-2:])

    writer = SeedWriter(str(tmp_path / "seeds"), SeedGenerator(method=method), processes=2)
    with pytest.warns(UserWarning, match="has no seed: RuntimeError: a dull image") as told:
        predict(make_trainer, writer)
    assert writer.counts == {"written": 18, "skipped": 0, "failed": 3}
    named = {str(w.message).split("'")[1] for w in told if "has no seed: RuntimeError" in str(w.message)}
    assert named == {f"scene_{i}" for i in range(21) if contrast[i] < limit}


def test_of_images_taken_together_one_that_fails_leaves_the_others_to_the_forks(make_trainer, tmp_path):
    limit = sorted(float(Scenes(21)[i]["image"].std()) for i in range(21))[1]

    def method(model, images, targets):
        if any(float(image.std()) < limit for image in images):
            raise RuntimeError("a dull image")
        return images.mean(1, keepdim=True).expand(-1, len(targets[0]), -1, -1).clone()

    writer = SeedWriter(str(tmp_path / "seeds"), SeedGenerator(method=method), processes=2, together=3)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        predict(make_trainer, writer)
    assert writer.counts == {"written": 20, "skipped": 0, "failed": 1}
    assert not [w for w in told if "in one process only" in str(w.message)]


def test_photographs_of_a_file_that_stays_open(make_trainer, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for index in range(21):
            archive.writestr(f"{index}.npy", Shown(21).image(index).tobytes())

    class Open(Shown):
        def __init__(self):
            super().__init__(21)
            self.archive = zipfile.ZipFile(tmp_path / "all.zip")

        def image(self, index):
            return np.frombuffer(self.archive.read(f"{index}.npy"), np.uint8).reshape(32, 32, 3).copy()

    options = {"flip": True, "background": 0.3, "refine": "guided"}
    for name, processes in (("alone", None), ("two", 2)):
        with one_thread():
            writer = SeedWriter(str(tmp_path / name), options, on_error="raise", processes=processes)
            predict(make_trainer, writer, data=DataLoader(Open(), batch_size=5))
    assert files(tmp_path / "two") == files(tmp_path / "alone")


def test_a_signal_to_stop_ends_the_forks_and_what_is_there_is_kept(make_trainer, tmp_path):
    def method(model, images, targets):
        if os.getpid() != HOME and float(images.sum()) > 0:
            os.kill(HOME, signal.SIGTERM)
            time.sleep(1000)
        return images.mean(1, keepdim=True).expand(-1, len(targets[0]), -1, -1).clone()

    start = time.monotonic()
    writer = SeedWriter(str(tmp_path / "seeds"), SeedGenerator(method=method), processes=2)
    with pytest.raises(SIGTERMException):
        predict(make_trainer, writer)
    assert time.monotonic() - start < 60
    assert len(list((tmp_path / "seeds").glob("*.png"))) == writer.counts["written"] > 0


def test_what_only_one_process_can_make_is_made_there(make_trainer, tmp_path):
    threads = set()

    def method(model, images, targets):
        if os.getpid() != HOME:
            os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory runs out
        threads.add(torch.get_num_threads())
        return images.mean(1, keepdim=True).expand(-1, len(targets[0]), -1, -1)

    writer = SeedWriter(str(tmp_path / "seeds"), SeedGenerator(method=method), on_error="raise", processes=2)
    with pytest.warns(UserWarning, match="16 images could be made in one process only, as when memory runs out"):
        predict(make_trainer, writer)
    assert writer.counts == {"written": 21, "skipped": 0, "failed": 0}
    assert threads == {1}  # the bytes do not depend on who makes them


def test_masks_of_a_segmentation_network(make_trainer, tmp_path):
    torch.manual_seed(1)
    network = nn.Conv2d(3, 4, 3, padding=1)
    with one_thread():
        predict(make_trainer, MaskWriter(str(tmp_path / "alone"), on_error="raise"), module=Classifier(network))
    predict(make_trainer, MaskWriter(str(tmp_path / "two"), on_error="raise", processes=2), module=Classifier(network))
    assert files(tmp_path / "two") == files(tmp_path / "alone")
    assert len(files(tmp_path / "two")) > 20


def test_no_process_at_all_is_refused(tmp_path):
    with pytest.raises(ValueError, match="processes is 1 or more, got 0"):
        SeedWriter(str(tmp_path / "seeds"), processes=0)
