import numpy as np
import pytest

from hedgeseg.data.scene import SHAPES, draw_scene


@pytest.mark.parametrize("side", [32, 128])
def test_scene_is_complete(side):
    scene = draw_scene(np.random.default_rng(1), side)
    assert scene.image.shape == (side, side, 3)
    assert scene.image.dtype == scene.mask.dtype == np.uint8
    assert scene.boxes.shape == (len(scene.box_labels), 4)


def test_boxes_labels_and_mask_tell_the_same():
    for index in range(60):
        scene = draw_scene(np.random.default_rng(index), 128)
        covered = np.zeros_like(scene.mask, dtype=bool)
        assert set(np.unique(scene.mask)) - {0} == set(scene.box_labels + 1)
        for (x0, y0, x1, y1), label in zip(scene.boxes.astype(int), scene.box_labels, strict=True):
            inside = scene.mask[y0:y1, x0:x1] == label + 1
            covered[y0:y1, x0:x1] = True
            # tight: the object touches all four sides
            assert all(side.any() for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
        assert not (scene.mask > 0)[~covered].any()


def test_most_scenes_hold_several_classes_and_occlusion_occurs():
    scenes = [draw_scene(np.random.default_rng(index), 128) for index in range(200)]
    assert np.mean([len(set(scene.box_labels)) > 1 for scene in scenes]) > 0.7
    assert set(np.concatenate([scene.box_labels for scene in scenes])) == set(range(len(SHAPES)))

    def overlap(scene):
        a, b = scene.boxes[:2]
        return (np.minimum(a[2:], b[2:]) > np.maximum(a[:2], b[:2])).all()

    assert np.mean([len(scene.boxes) > 1 and overlap(scene) for scene in scenes]) > 0.1


def test_colour_does_not_give_the_class_away():
    # the mean colour of an object, per class, averages out to the same grey
    means = [[] for _ in SHAPES]
    for index in range(300):
        scene = draw_scene(np.random.default_rng(index), 64)
        for label in set(scene.box_labels):
            means[label].append(scene.image[scene.mask == label + 1].mean(0))
    centres = np.array([np.mean(colours, 0) for colours in means])
    spread = np.mean([np.std(colours, 0) for colours in means])
    assert np.ptp(centres, axis=0).max() < spread
