"""Two processes that share the data equal one that has it all."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
from processes import in_processes

from hedgeseg.metrics import (
    ClassDiscrimination,
    ComponentAveragePrecision,
    Deletion,
    MaxBoxAccV2,
    OutsideInsideRatio,
    PixelAveragePrecision,
    PointingGame,
    PositiveRatio,
    PxAP,
    RandomizationSanity,
    RankAccuracy,
    RegionInsertion,
    SeedCurve,
)

COUNT, SIZE, CLASSES = 7, 16, 3


def saliency(model, images, targets):
    return images.mean(1) * model[1].weight[targets].abs().sum(1)[:, None, None] + model[1].weight[:, :256].mean(
        0
    ).view(16, 16)


def metrics_and_batches():
    """(metric, its update's arguments) by name; the arguments' first axis is the one to share."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(COUNT, SIZE, SIZE, generator=generator)
    masks = torch.rand(COUNT, SIZE, SIZE, generator=generator) > 0.6
    masks[2] = False
    classes = torch.arange(COUNT) % (CLASSES - 1)
    images = torch.rand(COUNT, 3, SIZE, SIZE, generator=generator)
    scores = torch.rand(COUNT, 2, SIZE, SIZE, generator=generator)
    rows = torch.stack([classes, classes + 1], 1)
    boxes = [torch.tensor([[2.0, 2.0, 11.0, 12.0]])] * COUNT
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIZE * SIZE, CLASSES)).requires_grad_(False)
    pairs = (maps, masks, classes)
    table = {
        metric.__class__.__name__: (metric, data)
        for metric, data in [
            *((metric_class(num_classes=CLASSES), pairs) for metric_class in (PointingGame, PositiveRatio)),
            *((metric_class(num_classes=CLASSES), pairs) for metric_class in (OutsideInsideRatio, RankAccuracy)),
            (PixelAveragePrecision(num_classes=CLASSES), pairs),
            (PxAP(bins=50), pairs),
            (ClassDiscrimination(), (maps, maps.flip(0))),
            (SeedCurve(CLASSES, bins=16), (scores, rows, masks.long())),
            (MaxBoxAccV2(thresholds=10), (maps, boxes)),
            (RegionInsertion(model), (images, maps, classes)),
            (Deletion(model, steps=4), (images, maps, classes)),
            (RandomizationSanity(model, saliency), (images, classes)),
        ]
    }
    objects = {"boxes": boxes[0], "labels": torch.tensor([0]), "masks": torch.ones(1, SIZE, SIZE, dtype=torch.bool)}
    table["ComponentAveragePrecision"] = (ComponentAveragePrecision(), (maps, classes, objects))
    return table


def feed(metric, data, chosen):
    if isinstance(metric, ComponentAveragePrecision):
        for i in chosen:
            metric.update(data[0][i : i + 1], data[1][i : i + 1], data[2])
    elif chosen:
        metric.update(*([part[i] for i in chosen] if isinstance(part, list) else part[chosen] for part in data))


def work(rank, port, folder):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    results = {}
    for name, (metric, data) in metrics_and_batches().items():
        with torch.inference_mode(rank == 0):
            feed(metric, data, range(rank, COUNT, 2))
        results[name] = metric.compute()
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("ranks")
    in_processes(work, (0, port, folder), (1, port, folder))
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", list(metrics_and_batches()))
def test_two_processes_equal_one(name, two_processes):
    metric, data = metrics_and_batches()[name]
    feed(metric, data, list(range(COUNT)))
    expected = metric.compute()
    for result in (part[name] for part in two_processes):
        assert result.keys() == expected.keys()
        for key in expected:
            torch.testing.assert_close(result[key], expected[key], atol=1e-5, rtol=1e-5, equal_nan=True)
