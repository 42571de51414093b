"""The evaluation as a whole: what it scores, that it resumes, and what it writes."""

import csv
import json

import pytest
import torch
from torch import nn

from hedgeseg.attribution import attribute
from hedgeseg.attribution.errors import NonFiniteError
from hedgeseg.evaluation import Annotations, Case, Evaluator, MethodRun, Protocol, make_case, select, write_report
from hedgeseg.evaluation.journal import read_records
from hedgeseg.evaluation.protocol import METRICS
from hedgeseg.evaluation.seed_quality import best_parts, compare_miou, miou_interval, pooled_curve
from hedgeseg.metrics import OutsideInsideRatio, PixelAveragePrecision, RandomizationSanity, SeedCurve, smoothed

CLASSES = ("left", "right", "none")
PROTOCOL = Protocol(metrics=METRICS, tolerance=1, steps=3, randomized_images=1, randomized_layers=2, seed_bins=8)
RUNS = [MethodRun.parse(text) for text in ("gradient", "center", "random limit=2")]


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    )


def cases(count=3, protocol=PROTOCOL):
    generator = torch.Generator().manual_seed(1)
    mask = torch.zeros(16, 16, dtype=torch.int64)
    mask[4:10, 1:6], mask[5:12, 9:14], mask[0] = 1, 2, 255
    return [
        make_case(
            f"image{i}", torch.randn(3, 16, 16, generator=generator), [0, 1], Annotations((16, 16), mask), protocol,
            turn=i,
        )
        for i in range(count)
    ]  # fmt: skip


def test_methods_are_read_as_they_are_written():
    run = MethodRun.parse("hedge gamma=2.0 limit=5")
    assert (run.label, run.method, run.options, run.limit) == ("hedge gamma=2.0", "hedge", {"gamma": 2.0}, 5)
    assert run.key.rsplit("-")[-1] == MethodRun.parse("hedge gamma=2.0 residual=main").key.rsplit("-")[-1]
    for wrong, message in (
        ("heg", "unknown"),
        ("hedge gama=2", "gama"),
        ("hedge 2", "option=value"),
        ("hedge limit=0", "limit"),
    ):
        with pytest.raises(ValueError, match=message):
            MethodRun.parse(wrong)


def test_a_protocol_says_which_classes_are_explained():
    case = cases(1)[0]
    logits = torch.tensor([1.0, -1.0, 3.0])
    every = select(case, logits, Protocol())
    assert every.classes == (0, 1)
    assert every.predicted.tolist() == [True, False]
    assert every.difficult.tolist() == [True, True]
    assert select(case, logits, Protocol(top=2)).classes == (0,)
    assert select(case, logits, Protocol(smallest=0.12)).classes == (1,)
    assert select(case, logits, Protocol(smallest=0.5)) is None
    with pytest.raises(ValueError, match="several classes"):
        select(case, logits, Protocol(target="predicted"))


def test_foreground_and_boxes_as_objects():
    mask = torch.tensor([[0, 3], [300, 65535]])
    seen = Annotations((2, 2), mask, torch.tensor([[0.0, 0.0, 1.0, 2.0]]), torch.tensor([5]), void=65535)
    case = make_case("a", torch.zeros(3, 2, 2), [7], seen, Protocol(regions="foreground"), exclusive=True)
    assert case.masks.tolist() == [[[False, True], [True, False]]]
    assert case.truth.tolist() == [[0, 1], [1, 255]]
    assert case.classes == (0,)
    chosen = select(case, torch.arange(9.0), Protocol(regions="foreground", target="predicted"))
    assert chosen.targets == (8,)
    boxes = make_case("a", torch.zeros(3, 2, 2), [5], seen, Protocol(regions="boxes"))
    assert boxes.masks.tolist() == [[[True, False], [True, False]]]
    with pytest.raises(ValueError, match="no masks"):
        make_case("a", torch.zeros(3, 2, 2), [5], Annotations((2, 2)), Protocol())
    insertion = make_case("a", torch.zeros(3, 2, 2), [5], Annotations((2, 2)), Protocol(metrics=("insertion",)))
    assert bool(insertion.masks.all())


def test_every_metric_is_scored_written_and_resumed(tmp_path):
    model = network()
    first = Evaluator(tmp_path, RUNS, PROTOCOL, CLASSES)
    first.add(model, cases()[:2])
    lines = {path: path.read_text() for path in (tmp_path / "images").glob("*.jsonl")}
    assert len(lines) == 3
    # A kill in the middle of a line: the image is scored again.
    torn = next(path for path in lines if "center" in path.name)
    torn.write_text(lines[torn][:-40])
    second = Evaluator(tmp_path, RUNS, PROTOCOL, CLASSES)
    assert second.add(model, cases()) == 3
    records = {run.label: read_records(tmp_path / "images", run.key) for run in RUNS}
    assert [len(records[run.label]) for run in RUNS] == [3, 3, 2]
    text = write_report(tmp_path, resamples=20)
    for word in ("| gradient", "| center", "PG", "seed mIoU", "insertion", "gradient - center", "eMPRT"):
        assert word in text
    result = json.loads((tmp_path / "results.json").read_text())
    gradient = result["methods"][[m["label"] for m in result["methods"]].index("gradient")]
    assert gradient["values"]["pointing_game"]["n"] == 6
    assert len(gradient["curves"]["region_insertion"]) == 20
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert {"method", "value", "mean", "low", "high", "n"} == rows[0].keys()
    assert (tmp_path / "comparisons.csv").is_file()
    assert (tmp_path / "plots" / "region_insertion.png").stat().st_size > 1000
    torch.manual_seed(5)
    with pytest.raises(ValueError, match="other settings"):
        Evaluator(tmp_path, RUNS, PROTOCOL, CLASSES).add(nn.Sequential(nn.Flatten(), nn.Linear(768, 3)), cases())


def test_values_are_those_of_the_metrics(tmp_path):
    evaluator = Evaluator(tmp_path, RUNS[1:2], PROTOCOL, CLASSES, watch=(seen := Seen()))
    evaluator.add(network(), cases())
    metric, ratio, curve = PixelAveragePrecision(), OutsideInsideRatio(), SeedCurve(3, 8)
    for case, maps in seen.maps:
        for each in (metric, ratio):
            each.update(maps, case.masks, valid=case.valid.expand_as(case.masks))
        curve.update(maps.clamp(min=0) / maps.amax((1, 2), keepdim=True), torch.tensor(case.classes), case.truth)
    write_report(tmp_path, plots=False, resamples=20)
    values = json.loads((tmp_path / "results.json").read_text())["methods"][0]["values"]
    expected = float(metric.compute()["pixel_average_precision"])
    assert values["pixel_average_precision"]["mean"] == pytest.approx(expected, rel=1e-5)
    for name in ("outside_inside_ratio", "outside_inside_ratio_of_means", "outside_inside_ratio_positive_of_means"):
        assert values[name]["mean"] == pytest.approx(float(ratio.compute()[name]), rel=1e-5)
    assert values["miou"]["mean"] == pytest.approx(float(curve.compute()["miou_best"]), rel=1e-5)


def test_a_map_that_is_not_finite_is_counted_and_the_others_go_on(tmp_path):
    class Broken(nn.Module):
        def forward(self, images):
            return images.mean((2, 3)).mul(0).sqrt()  # whose slope at 0 is infinite

    evaluator = Evaluator(tmp_path, RUNS[:2], Protocol(), CLASSES)
    evaluator.add(Broken(), cases(2, Protocol()))
    text = write_report(tmp_path, plots=False, resamples=20)
    assert "4 (4 not finite)" in text


def test_a_network_that_is_not_finite_is_refused_with_the_image_by_its_id(tmp_path):
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, images):
            bright = (images.amax((1, 2, 3), keepdim=True) > 50).float()
            return self.net(nn.functional.relu6(images / (1 - bright) + images))

    broken, (first, second) = Broken(), cases(2, Protocol())
    second.image[0, 3, 3] = 100
    evaluator = Evaluator(tmp_path, RUNS[:1], Protocol(), CLASSES)
    with pytest.raises(NonFiniteError, match=r"\['image1'\].*aten.div"):
        evaluator.add(broken, [first, second])


def test_seed_parts_are_the_confusion_at_the_best_threshold():
    generator = torch.Generator().manual_seed(0)
    curve, seeds = SeedCurve(2, 8), []
    for _ in range(4):
        one = SeedCurve(2, 8)
        scores, truth = torch.rand(2, 6, 6, generator=generator), torch.randint(0, 3, (6, 6), generator=generator)
        for metric in (curve, one):
            metric.update(scores, torch.tensor([0, 1]), truth)
        cells = one.histogram.flatten().nonzero()[:, 0]
        seeds.append((cells.tolist(), one.histogram.flatten()[cells].tolist()))
    assert torch.equal(pooled_curve(seeds, 2, 8)["miou"], curve.compute()["miou"])
    parts = best_parts(seeds, 2, 8)
    confusion = curve.confusion(float(curve.compute()["threshold_best"]))
    assert torch.equal(parts.sum(0)[:, 0], confusion.diagonal().double())
    assert torch.equal(parts.sum(0)[:, 1], confusion.sum(0).double())
    assert torch.equal(parts.sum(0)[:, 2], confusion.sum(1).double())
    low, high = miou_interval(parts, 50)
    assert low <= float(curve.compute()["miou_best"]) + 0.1
    assert low <= high
    same = compare_miou(parts, parts, 50)
    assert (same.difference, same.p_value) == (0.0, 1.0)


def test_the_sanity_check_can_be_smooth_and_bottom_up(tmp_path):
    protocol = Protocol(
        metrics=("randomization_sanity",), randomized_images=1, randomized_order="bottom_up", randomized_samples=3
    )
    model, run, chosen = network(), MethodRun.parse("gradient"), cases(2, protocol)
    Evaluator(tmp_path, [run], protocol, CLASSES).add(model, chosen)
    assert json.loads((tmp_path / "settings.json").read_text())["layers"] == ["0", "4"]
    (first,) = read_records(tmp_path / "images", run.key)  # nothing is asked of the second

    def explain(module, images, targets):
        return attribute(module, images, targets, method="gradient").maps[:, 0]

    metric = RandomizationSanity(model, smoothed(explain, 3), "bottom_up")
    metric.update(chosen[0].image[None], torch.tensor([0]))
    expected = metric.compute()
    name = "randomization_sanity"
    assert first.values[name][0] == pytest.approx(expected[name].item(), rel=1e-5)
    assert first.curves[f"{name}_spearman"][0] == pytest.approx(expected[f"{name}_spearman"].tolist(), rel=1e-5)
    with pytest.raises(ValueError, match="order must be"):
        Protocol(randomized_order="sideways")


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no evaluation"):
        write_report(tmp_path)
    Evaluator(tmp_path, RUNS, PROTOCOL, CLASSES).open(network())
    with pytest.raises(ValueError, match="no results"):
        write_report(tmp_path)


class Seen:
    """Keeps the maps that an evaluator makes."""

    def __init__(self):
        self.maps: list[tuple[Case, torch.Tensor]] = []

    def __call__(self, run, case, maps):
        self.maps.append((case, maps))
