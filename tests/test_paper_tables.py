"""The script of the paper's tables: boxes from masks, tables from journals, the order of the work."""

import json

import numpy as np
import pytest
from documents import ROOT

from hedgeseg.evaluation import MethodRun
from hedgeseg.evaluation.journal import Journal, Record


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import network_data_pairs
    import paper_on_photographs
    import paper_tables

    return network_data_pairs, paper_on_photographs, paper_tables


def test_boxes_are_those_of_the_connected_parts(scripts):
    mask = np.zeros((20, 30), np.uint8)
    mask[2:5, 3:9] = 8
    mask[10:12, 20:22] = 8
    mask[0:20, 29] = 255
    mask[15:20, 0:4] = 15
    boxes, labels = scripts[0].boxes_of(mask)
    assert boxes.tolist() == [[3, 2, 9, 5], [20, 10, 22, 12], [0, 15, 4, 20]]
    assert labels.tolist() == [7, 7, 14]
    assert scripts[0].boxes_of(np.zeros((4, 4), np.uint8))[0].shape == (0, 4)


def journals(folder, hits):
    """Two methods on photographs in the order a, b, c, ..., of which every other shows two classes."""
    folder.mkdir(parents=True)
    names = [f"image_{i}" for i in range(len(hits["hedge"]))]
    shown = [(7, 14) if i % 2 else (7,) for i in range(len(names))]
    order = [[i, name, len(shown[i])] for i, name in enumerate(names)]
    (folder / "order.json").write_text(json.dumps(order))
    for label, row in hits.items():
        journal = Journal(folder / "maps" / "images", MethodRun.parse(label))
        for name, classes, hit in zip(names, shown, row, strict=True):
            if hit is not None:
                values = {"pointing_game": [float(hit)] * len(classes), "pixel_average_precision": [0.5] * len(classes)}
                journal.append(Record(name, classes, 0.1, values))


def test_tables_compare_what_both_have_seen(scripts, tmp_path):
    hits = {"hedge": [1] * 12, "grad_cam": [0] * 11 + [None], "center": [1] * 6 + [None] * 5 + [1]}
    journals(tmp_path / "squeezenet1_0" / "coco", hits)
    text = scripts[2].write_tables(tmp_path)
    assert (tmp_path / "tables.md").read_text() == text
    rows = {tuple(c.strip() for c in line.split("|")[1:-1]) for line in text.splitlines() if line.startswith("|")}
    assert ("hedge", "1.000", "1") in rows
    assert ("grad_cam", "0.000", "0") in rows
    assert ("grad_cam", "+1.000 **") in rows  # eleven of eleven; after Holm's correction, too
    assert ("center", "+0.000") in rows
    several = text.split("Photographs of several classes")[1]
    assert "+1.000 (+1.000 to +1.000)" in several


def test_photographs_of_every_pair_come_in_turn(scripts):
    class Pair:
        def __init__(self, name, count):
            self.name, self.count = name, count

        def order(self):
            return [(i, str(i), 1 + i % 2) for i in range(self.count)]

    script = scripts[1]
    pairs = {("a", "voc"): Pair("a", 25), ("a", "coco"): Pair("b", 12)}
    part = script.Part(["hedge"], ["a"], ["voc", "coco"], 15)
    found = [(pair.name, [turn for _, turn in photographs]) for pair, photographs in script.todo(part, pairs)]
    assert found == [("a", list(range(10))), ("b", list(range(10))), ("a", list(range(10, 15))), ("b", [10, 11])]
    several = script.Part(["hedge"], ["a"], ["voc"], 3, several=True)
    assert [turns for _, turns in script.todo(several, pairs)] == [[(1, 1), (3, 3), (5, 5)]]


def test_every_method_of_the_parts_can_be_read(scripts):
    for parts in scripts[1].PARTS.values():
        for part in parts:
            assert [MethodRun.parse(text) for text in part.methods]
            assert set(part.networks) <= set(scripts[0].NETWORKS)
