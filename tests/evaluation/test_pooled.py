"""The columns of metrics that no map has alone, against the metrics themselves and against scikit-learn."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from hedgeseg.evaluation import Annotations, MethodRun, Protocol, make_case, summarize_run
from hedgeseg.evaluation.comparison import compare_summaries
from hedgeseg.evaluation.journal import Journal, Record, read_records
from hedgeseg.evaluation.pooled import POOLED, true_boxes
from hedgeseg.metrics import ComponentAveragePrecision, MaxBoxAccV2, PxAP

PROTOCOL = Protocol(metrics=tuple(POOLED))
RUN = MethodRun.parse("gradient")


def cases(count=4):
    """Two classes per image: the first with boxes of the data, the second without."""
    made = []
    for i in range(count):
        mask = torch.zeros(24, 24, dtype=torch.int64)
        mask[2 + i : 12, 3:10], mask[14:22, 12 : 20 - i], mask[0] = 1, 2, 255
        seen = Annotations((24, 24), mask, torch.tensor([[3.0, 2 + i, 10, 12]]), torch.tensor([0]))
        made.append(make_case(f"image{i}", torch.zeros(3, 24, 24), [0, 1], seen, PROTOCOL))
    return made


def maps_of(case, seed):
    noise = torch.randn(2, 24, 24, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise[None], 5, 1, 2)[0] + 0.25 * case.masks


def records(folder, name, seed):
    """Through a journal on disk, as an evaluation writes them."""
    journal = Journal(folder, MethodRun.parse(name))
    for i, case in enumerate(cases()):
        pooled = {key: metric.note(case, maps_of(case, seed + i)) for key, metric in POOLED.items()}
        journal.append(Record(case.id, case.classes, 0.1, pooled=pooled))
    return read_records(folder, MethodRun.parse(name).key)


def test_columns_equal_the_metrics(tmp_path):
    summary = summarize_run(RUN, records(tmp_path, "gradient", 0), 2, 8, resamples=40)
    pixels, boxes = PxAP(), MaxBoxAccV2()
    objects = ComponentAveragePrecision(2, masks=False, rec_thresholds=np.linspace(0, 1, 101).tolist())
    scores, truth = [], []
    for i, case in enumerate(cases()):
        maps, valid = maps_of(case, i), case.valid.expand_as(case.masks)
        pixels.update(maps, case.masks, valid=valid)
        boxes.update(maps, true_boxes(case))
        labels = [label for label, rows in enumerate(true_boxes(case)) for _ in rows]
        objects.update(maps, [0, 1], {"boxes": torch.cat(true_boxes(case)), "labels": torch.tensor(labels)})
        for saliency, mask in zip(maps, case.masks, strict=True):
            inside = saliency[case.valid]
            scores.append(((inside - inside.min()) / (inside.max() - inside.min()) * 1000).floor())
            truth.append(mask[case.valid])
    exact = average_precision_score(torch.cat(truth).numpy(), torch.cat(scores).numpy())
    values = summary.values
    assert values["px_ap"].mean == pytest.approx(pixels.compute()["px_ap"].item(), abs=1e-6)
    assert values["px_ap"].mean == pytest.approx(exact, abs=1e-4)
    assert values["max_box_acc_v2"].mean == pytest.approx(boxes.compute()["max_box_acc_v2"].item(), abs=1e-6)
    name = "component_average_precision"
    assert values[name].mean == pytest.approx(objects.compute()[f"{name}_bbox_map_50"].item(), abs=1e-6)
    assert all(values[key].low <= values[key].mean <= values[key].high for key in ("px_ap", name))
    assert {summary.counts[key] for key in POOLED} == {8}


def test_boxes_are_the_datas_or_those_of_the_mask():
    case = cases(1)[0]
    given, drawn = true_boxes(case)
    assert given.tolist() == [[3, 2, 10, 12]]
    assert drawn.tolist() == [[12, 14, 20, 22]]
    assert [b.tolist() for b in true_boxes(replace(case, boxes=()))] == [given.tolist(), drawn.tolist()]


def test_methods_are_compared_image_by_image(tmp_path):
    ours, same, other = (
        summarize_run(MethodRun.parse(name), records(tmp_path, name, seed), 2, 8, resamples=40)
        for name, seed in (("gradient", 0), ("center", 0), ("random", 50))
    )
    for key, found in compare_summaries(ours, same, 2, 8, resamples=40).items():
        assert (found.difference, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0), key
    for key, found in compare_summaries(ours, other, 2, 8, resamples=40).items():
        assert found.difference == pytest.approx(ours.values[key].mean - other.values[key].mean, abs=1e-9)
        assert found.low <= found.high
        assert 0 < found.p_value <= 1
    assert json.dumps(ours.as_json())
