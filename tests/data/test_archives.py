import hashlib

import pytest

from hedgeseg.data.archives import Archive, Source, archives_of, fetch


@pytest.fixture
def source():
    return Source("Things", (Archive("things.tar", hashlib.md5(b"whole").hexdigest()),), "ask for it")


def test_advice_tells_what_lies_there(source, tmp_path):
    assert source.advice(tmp_path) == "by hand: ask for it"
    (tmp_path / "things.tar").write_bytes(b"whole")
    assert source.advice(tmp_path).startswith(f"{tmp_path / 'things.tar'} is whole: unpack it")
    (tmp_path / "things.tar").write_bytes(b"who")
    assert "things.tar is broken or only half downloaded" in source.advice(tmp_path)


def test_missing_files_are_counted_and_named(source, tmp_path):
    files = [tmp_path / f"{number}.jpg" for number in range(6)]
    files[0].touch()
    with pytest.raises(FileNotFoundError, match=r"5 of 6 files are missing \(.*1\.jpg, .*3\.jpg, \.\.\.\)"):
        source.require(files, tmp_path)
    source.require(files[:1], tmp_path)


def test_what_is_present_is_not_fetched(source, tmp_path):
    fetch(source, "NoSuchDataset", lambda: True, tmp_path)


def test_names_come_from_addresses():
    assert archives_of([("https://a.b/c/d.tgz", "0")]) == (Archive("d.tgz", "0"),)
