"""Average precision of weighted images against pycocotools, which must see an image as often as it counts."""

import contextlib
import io

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hedgeseg.metrics.detections import Detections, average_precision, match_boxes


def boxes(generator, count):
    corners = torch.randint(0, 20, (count, 2), generator=generator).float()
    return torch.cat([corners, corners + torch.randint(4, 14, (count, 2), generator=generator)], 1)


def random_images(ties, count=7, labels=(0, 2)):
    """Per image and class: found boxes, their scores, true boxes. Some of the found are close to true ones."""
    generator = torch.Generator().manual_seed(0)
    images = []
    for _ in range(count):
        image = {}
        for label in labels:
            true = boxes(generator, int(torch.randint(0, 4, (), generator=generator)))
            near = true + torch.randint(-2, 3, true.shape, generator=generator)
            found = torch.cat([near, boxes(generator, 3)])
            scores = torch.rand(len(found), generator=generator)
            image[label] = found, scores.mul(8).round() / 8 if ties else scores, true
        images.append(image)
    return images


def coco_precision(images):
    """AP at an IoU of .5 by pycocotools."""
    found, true = [], []
    for number, image in enumerate(images, 1):
        for label, (proposals, scores, objects) in image.items():
            for listed, rows in ((found, proposals), (true, objects)):
                for place, (x0, y0, x1, y1) in enumerate(rows.tolist()):
                    entry = {"id": len(listed) + 1, "image_id": number, "category_id": label, "iscrowd": 0}
                    entry |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
                    listed.append(entry | ({"score": float(scores[place])} if listed is found else {}))
    files = []
    with contextlib.redirect_stdout(io.StringIO()):
        for annotations in (true, found):
            coco = COCO()
            categories = [{"id": label} for label in sorted({key for image in images for key in image})]
            listed = [{"id": number} for number in range(1, len(images) + 1)]
            coco.dataset = {"images": listed, "categories": categories, "annotations": annotations}
            coco.createIndex()
            files.append(coco)
        evaluation = COCOeval(*files, "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.evaluate()
        evaluation.accumulate()
    values = evaluation.eval["precision"][0, :, :, 0, -1]
    return values[:, (values > -1).all(0)].mean()


def detections(image):
    return [
        Detections(label, len(true), scores.tolist(), match_boxes(found, scores, true).tolist())
        for label, (found, scores, true) in image.items()
    ]


def test_equals_cocos_code_also_where_images_count_more_than_once():
    weights = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [2, 0, 1, 3, 0, 0, 1], [0, 0, 0, 4, 2, 1, 0]]).double()
    for ties in (True, False):  # copies of an image with equal scores would take turns, which weights cannot
        images = random_images(ties)
        rows = weights[:1] if ties else weights
        values = average_precision([detections(image) for image in images], rows)
        for value, row in zip(values.tolist(), rows.int().tolist(), strict=True):
            drawn = [image for image, times in zip(images, row, strict=True) for _ in range(times)]
            assert value == pytest.approx(coco_precision(drawn), abs=1e-9)
        assert 0.05 < values[0] < 0.95


def test_edge_cases():
    one = torch.tensor([[0.0, 0, 4, 4]])
    assert match_boxes(one.repeat(2, 1), torch.tensor([0.2, 0.9]), one).tolist() == [False, True]
    assert match_boxes(one, torch.ones(1), torch.tensor([[0.0, 0, 8, 4]])).tolist() == [True]  # exactly .5
    assert match_boxes(one, torch.ones(1), torch.zeros(0, 4)).tolist() == [False]
    assert match_boxes(torch.zeros(0, 4), torch.zeros(0), one).tolist() == []
    nothing = average_precision([[Detections(0, 0, [0.5], [False])], []], torch.ones(1, 2).double())
    assert nothing.isnan().all()
    assert average_precision([], torch.ones(2, 0).double()).isnan().all()
    silent = average_precision([[Detections(0, 2, [], [])]], torch.ones(1, 1).double())
    assert silent.tolist() == [0.0]
