import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from hedgeseg.seeds import Seed, SeedGenerator, write_seed
from hedgeseg.seeds.background import Band
from hedgeseg.seeds.formats.files import write_once
from hedgeseg.seeds.manifest import FolderMismatchError, config_digest, open_folder, parse_shard, weights_hash

CONFIG = {"generator": {"method": "hedge", "gamma": 2.0}, "size": [64, 64]}


def seed():
    return Seed(torch.zeros(1, 2, 2), [0], torch.zeros(2, 2))


def test_a_folder_opens_again_with_the_same_settings(tmp_path):
    first = open_folder(tmp_path / "seeds", CONFIG)
    write_seed(first.folder, "a", seed())
    again = open_folder(tmp_path / "seeds", dict(reversed(CONFIG.items())))
    assert again.digest == first.digest
    assert again.is_done("a")
    assert again.pending(["b", "a", "c"]) == ["b", "c"]


def test_other_settings_are_refused_and_named(tmp_path):
    open_folder(tmp_path, CONFIG)
    other = {"generator": {"method": "hedge", "gamma": 1.0}, "size": [64, 64], "flip": True}
    with pytest.raises(FolderMismatchError) as error:
        open_folder(tmp_path, other)
    message = str(error.value)
    assert "generator.gamma: 2.0 there, 1.0 now" in message
    assert "flip: nothing there, True now" in message
    assert "size" not in message


def test_seeds_of_unknown_settings_are_refused(tmp_path):
    write_seed(tmp_path, "a", seed())
    with pytest.raises(ValueError, match="unknown settings"):
        open_folder(tmp_path, CONFIG)


def test_a_half_written_seed_is_not_done(tmp_path):
    folder = open_folder(tmp_path, CONFIG)
    write_seed(tmp_path, "a", seed())
    (tmp_path / "a.png").unlink()
    assert not folder.is_done("a")


def test_failures_are_kept_until_the_seed_is_there(tmp_path):
    folder = open_folder(tmp_path, CONFIG)
    folder.record_failure("sub/a", OSError("truncated file"))
    folder.record_failure("b", "no label")
    assert folder.failures() == {"b": "no label", "sub/a": "OSError: truncated file"}
    write_seed(tmp_path, "b", seed())
    assert list(folder.failures()) == ["sub/a"]
    folder.clear_failure("sub/a")
    assert folder.failures() == {}


def test_versions_are_recorded(tmp_path):
    open_folder(tmp_path, CONFIG)
    stored = json.loads((tmp_path / "manifest.json").read_text())
    assert torch.__version__.startswith(stored["versions"]["torch"])
    assert stored["config"] == CONFIG


def test_processes_that_open_together_agree(tmp_path):
    opened = []
    threads = [threading.Thread(target=lambda: opened.append(open_folder(tmp_path / "x", CONFIG))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({manifest.digest for manifest in opened}) == 1
    assert len(opened) == 8


def test_settings_must_be_json(tmp_path):
    with pytest.raises(ValueError, match="must be JSON"):
        open_folder(tmp_path, {"model": object()})


def test_the_hash_of_weights_follows_values_and_names():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = weights_hash(model)
    assert weights_hash(model) == before
    with torch.no_grad():
        model[1].running_mean[0] += 1
    assert weights_hash(model) != before


def test_generators_describe_themselves():
    def mine(model, images, targets):
        raise NotImplementedError

    def config(**arguments):
        return config_digest(SeedGenerator(**arguments).config())

    same = {"method": "hedge", "background": Band(), "refine": ["guided", {"crf": {"preset": "psa"}}]}
    assert config(**same) == config(**same)
    assert config(**same) != config(**{**same, "background": Band(0.1)})
    assert config(**same) != config(**{**same, "refine": ["guided", {"crf": {"preset": "irn"}}]})
    assert config() != config(gamma=1.0)
    assert config(method=mine) != config(method="hedge")


def test_a_shard_is_a_part_and_the_number_of_parts():
    assert parse_shard("2/4") == (2, 4)
    for text in ("4/4", "1", "-1/4", "a/b", "1/"):
        with pytest.raises(ValueError, match=r"shard must be i/n .* got"):
            parse_shard(text)


def test_of_several_openers_the_first_writes_and_the_others_compare(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        digests = {m.digest for m in pool.map(lambda _: open_folder(tmp_path, CONFIG), range(16))}
    assert digests == {config_digest(CONFIG)}
    write_once(tmp_path / "manifest.json", "another")
    assert json.loads((tmp_path / "manifest.json").read_text())["config"] == CONFIG
    assert {p.name for p in tmp_path.iterdir()} == {"manifest.json"}


def test_opening_removes_what_the_killed_left_and_nothing_else(tmp_path):
    open_folder(tmp_path, CONFIG)
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    ours = f".tmp-{socket.gethostname()}"
    killed, alive = tmp_path / f"{ours}-{int(dead.stdout)}-x.png", tmp_path / f"{ours}-{os.getpid()}-x.png"
    elsewhere = tmp_path / f".tmp-elsewhere-{int(dead.stdout)}-x.png"
    for path in (killed, alive, elsewhere):
        path.touch()
    open_folder(tmp_path, CONFIG)
    assert not killed.exists()
    assert alive.exists()
    assert elsewhere.exists()
