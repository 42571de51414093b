from types import SimpleNamespace

import pytest
import torch
from callback_scenes import small_network

from hedgeseg.attribution import attribute
from hedgeseg.callbacks.batches import Example
from hedgeseg.callbacks.explanations import Explainer

CPU = torch.device("cpu")


def example(key="a", labels=(0,), exclusive=False, seed=0):
    image = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return Example(key, image, labels, exclusive)


def fake_attribute(model, images, targets, method, **options):
    width = max(map(len, targets))
    maps = torch.full((len(images), width, 16, 16), float("nan"))
    for n, row in enumerate(targets):
        maps[n, : len(row)] = 1
    return SimpleNamespace(maps=maps, logits=torch.zeros(len(images), 3))


def test_one_map_per_label():
    explainer = Explainer("hedge", "label", {}, fake_attribute)
    first, second = explainer(small_network(), [example("a", (0, 2)), example("b", (1,))], CPU)
    assert first.classes == (0, 2)
    assert first.maps.shape == (2, 16, 16)
    assert second.maps.shape == (1, 16, 16)
    assert first.scores == (0.5, 0.5)


def test_scores_are_a_softmax_for_exclusive_classes():
    explainer = Explainer("hedge", "label", {}, fake_attribute)
    assert explainer(small_network(), [example(exclusive=True)], CPU)[0].scores == pytest.approx((1 / 3,))


def test_fixed_targets():
    network = small_network()
    assert Explainer("hedge", 2, {}, fake_attribute)(network, [example()], CPU)[0].classes == (2,)
    assert Explainer("hedge", [0, 1], {}, fake_attribute)(network, [example()], CPU)[0].classes == (0, 1)


def test_predicted_targets():
    network = small_network()
    with torch.no_grad():
        network[-1].weight.zero_()
        network[-1].bias.copy_(torch.tensor([1.0, -1.0, 2.0]))
    explainer = Explainer("hedge", "predicted", {}, fake_attribute)
    assert explainer(network, [example(labels=None, exclusive=True)], CPU)[0].classes == (2,)
    assert explainer(network, [example(labels=None)], CPU)[0].classes == (0, 2)
    assert network.training


def test_images_without_a_label_are_not_wanted():
    explainer = Explainer("hedge", "label", {})
    assert not explainer.wants(example(labels=()))
    assert explainer.wants(example(labels=None))
    assert Explainer("hedge", "predicted", {}).wants(example(labels=()))
    with pytest.raises(ValueError, match="target='label', but image 'a' has none"):
        explainer(small_network(), [example(labels=None)], CPU)


def test_maps_that_are_not_finite_are_an_error():
    def broken(*args, **kwargs):
        return SimpleNamespace(maps=torch.full((1, 1, 16, 16), float("inf")), logits=torch.zeros(1, 3))

    with pytest.raises(ValueError, match="maps of image 'a' hold NaN or infinity"):
        Explainer("hedge", "label", {}, broken)(small_network(), [example()], CPU)


def test_running_out_of_memory_halves_the_chunk_and_keeps_it():
    chunks = []

    def tight(model, images, targets, method, chunk=None, **options):
        chunks.append(chunk)
        if chunk is None or chunk > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return attribute(model, images, targets, method=method, chunk=chunk, **options)

    network = small_network()
    examples = [example(str(i), (0, 1), seed=i) for i in range(4)]
    explainer = Explainer("hedge", "label", {"gamma": 1.0}, tight)
    explanations = explainer(network, examples, CPU)
    assert chunks == [None, 4, 2]
    explainer(network, examples, CPU)
    assert chunks[3:] == [2]
    plain = Explainer("hedge", "label", {"gamma": 1.0})(network, examples, CPU)
    for a, b in zip(explanations, plain, strict=True):
        torch.testing.assert_close(a.maps, b.maps)


def test_memory_that_is_too_small_for_one_map_is_an_error():
    def never(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        Explainer("hedge", "label", {}, never)(small_network(), [example()], CPU)


def test_unknown_target():
    with pytest.raises(ValueError, match="target is 'label'"):
        Explainer("hedge", "lable", {})
