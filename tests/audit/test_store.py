import numpy as np
import pytest

from hedgeseg.audit import Evidence, EvidenceStore
from hedgeseg.audit.store import read_store
from hedgeseg.seeds.manifest import FolderMismatchError


def evidence(name, index=0, split="val", **numbers):
    rng = np.random.default_rng(abs(hash(name)) % 1000)
    return Evidence(
        id=name,
        split=split,
        class_index=index,
        probability=0.25,
        correct=False,
        map=rng.standard_normal((14, 14)).astype(np.float16),
        mean=rng.random(6).astype(np.float16),
        peaks=rng.random((3, 6)).astype(np.float16),
        view=rng.random((4, 4, 5)).astype(np.float16),
        drops=rng.random(3).astype(np.float16),
        numbers=numbers,
        thumbnail=name.encode(),
    )


def test_what_was_written_is_read(tmp_path):
    store = EvidenceStore(tmp_path, {"method": "hedge"})
    kept = [evidence("b/2", 1, border=0.5), evidence("b/2", 0, border=0.25, pointing=1.0), evidence("a")]
    store.add("val", ["b/2", "a", "nothing to see"], kept)
    found = EvidenceStore(tmp_path, {"method": "hedge"}).read()
    assert [entry.key for entry in found] == [("val", "a", 0), ("val", "b/2", 0), ("val", "b/2", 1)]
    twin = found[1]
    assert twin.thumbnail == b"b/2"
    assert np.array_equal(twin.map, kept[1].map)
    assert np.array_equal(twin.peaks, kept[1].peaks)
    assert twin.numbers == {"border": 0.25, "pointing": 1.0}
    assert np.isnan(found[0].numbers["border"])


def test_a_later_run_knows_what_is_done(tmp_path):
    EvidenceStore(tmp_path, {}).add("val", ["a", "empty"], [evidence("a")])
    later = EvidenceStore(tmp_path, {})
    assert later.is_done("val", "a")
    assert later.is_done("val", "empty")
    assert not later.is_done("train", "a")
    assert not later.is_done("val", "b")


def test_an_image_that_two_processes_saw_counts_once(tmp_path):
    EvidenceStore(tmp_path, {}).add("val", ["a", "b"], [evidence("a"), evidence("b")])
    EvidenceStore(tmp_path, {}).add("val", ["a"], [evidence("a")])
    assert [entry.id for entry in read_store(tmp_path)] == ["a", "b"]


def test_other_settings_are_refused(tmp_path):
    EvidenceStore(tmp_path, {"method": "hedge"})
    with pytest.raises(FolderMismatchError, match="method"):
        EvidenceStore(tmp_path, {"method": "grad_cam"})


def test_a_file_cut_short_is_named(tmp_path):
    store = EvidenceStore(tmp_path, {})
    store.add("val", ["a"], [evidence("a")])
    path = next((tmp_path / "evidence").glob("*.npz"))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=path.name):
        read_store(tmp_path)


def test_an_empty_folder_is_no_audit(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no evidence"):
        read_store(tmp_path)
