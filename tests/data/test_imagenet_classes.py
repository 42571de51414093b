import sys

import pytest

from hedgeseg.data import imagenet_wnids

IDS = [f"n{number:08d}" for number in range(1000)]


def test_ids_come_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "synsets.txt"
    path.write_text("\n".join(f"{wnid} a name" for wnid in IDS[::-1]) + "\n\n")
    assert imagenet_wnids(path) == tuple(IDS[::-1])


def test_files_that_do_not_fit(tmp_path):
    path = tmp_path / "synsets.txt"
    with pytest.raises(FileNotFoundError, match=r"synsets\.txt not found"):
        imagenet_wnids(path)
    path.write_text("\n".join(IDS[:999]))
    with pytest.raises(ValueError, match="holds 999 ids"):
        imagenet_wnids(path)
    path.write_text("\n".join([*IDS[:999], IDS[0]]))
    with pytest.raises(ValueError, match="999 different ones"):
        imagenet_wnids(path)
    path.write_text("tench\n")
    with pytest.raises(ValueError, match="entry 1: 'tench' is no WordNet id"):
        imagenet_wnids(path)


def test_neither_file_nor_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm.data", None)
    with pytest.raises(ImportError, match=r"LOC_synset_mapping\.txt.*hedgeseg\[timm\]"):
        imagenet_wnids()
