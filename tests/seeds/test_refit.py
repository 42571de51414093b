import pytest
import torch
from strided_network import Strided

from hedgeseg.seeds.places import UNSURE, learn_places, on_one_grid
from hedgeseg.seeds.refit import PLACES, Refit, _Samples, labels_of, learn_refit


@pytest.fixture(autouse=True)
def briefly(monkeypatch):
    """These scenes are learnt in fewer steps than photographs."""
    monkeypatch.setattr("hedgeseg.seeds.places.STEPS", 60)
    monkeypatch.setattr("hedgeseg.seeds.places.BATCH", 1000)


def scene(seed, classes):
    """An image of a class per half, and the places where each class is."""
    generator = torch.Generator().manual_seed(seed)
    image = 0.1 * torch.randn(3, 96, 96, generator=generator)
    truth = torch.zeros(2, 12, 12, dtype=torch.bool)
    for c in classes:
        top, left = (int(v) for v in torch.randint(0, 6, (2,), generator=generator))
        left = left // 2 + 6 * c if len(classes) > 1 else left
        right = min(12, left + (3 if len(classes) > 1 else 6))
        truth[c, top : top + 6, left:right] = True
        image[c, 8 * top : 8 * (top + 6), 8 * left : 8 * right] += 1
    return image, truth


def erring(truth, classes, seed):
    """Scores that miss parts of the object and light up places beside it, in every image others."""
    generator = torch.Generator().manual_seed(1000 + seed)
    scores = truth[list(classes)].float() * (torch.rand(len(classes), 12, 12, generator=generator) > 0.35)
    beside = torch.rand(len(classes), 12, 12, generator=generator) > 0.85
    return torch.where(beside, torch.ones(()), scores)


LABELS = [(0,), (1,), (0, 1), (0,), (1,), ()] * 5


def seeds():
    for i, classes in enumerate(LABELS):
        image, truth = scene(i, classes)
        yield image, erring(truth, classes, i), classes


def iou(mask, truth):
    return float((mask & truth).sum() / (mask | truth).sum())


def test_what_the_seeds_of_a_class_have_in_common_mends_each_of_them():
    model = Strided()
    refit = learn_refit(model, seeds)
    for i, classes in enumerate(LABELS):
        image, truth = scene(i, classes)
        found = refit(image, classes)
        assert found.shape == (len(classes), 12, 12)
        for k, c in enumerate(classes):
            before = iou(erring(truth, classes, i)[k] > 0.5, truth[c])
            after = iou(found[k] > 0.5, truth[c])
            assert before < 0.75
            assert after > 0.85


def test_the_same_seeds_lead_to_the_same_scores_and_leave_the_draws_of_others_alone():
    image, _ = scene(0, (0,))
    torch.manual_seed(3)
    first = learn_refit(Strided(), seeds)(image, [0])
    drawn = torch.rand(1)
    torch.manual_seed(3)
    Strided()
    assert torch.equal(drawn, torch.rand(1))
    assert torch.equal(first, learn_refit(Strided(), seeds)(image, [0]))


def test_a_place_is_learnt_from_where_it_is_sure():
    scores = torch.tensor([[0.0, 0.9], [0.1, 0.2], [0.55, 0.1], [0.5, 0.46], [1.0, 0.95]])
    found = labels_of(scores, torch.tensor([0.5, 0.5]), torch.tensor([0, 4, 7]))
    assert found.tolist() == [7, 0, UNSURE, UNSURE, 4]


def test_images_without_a_class_are_background_everywhere():
    def one_colour():
        for i in range(8):
            image = 0.1 * torch.randn(3, 96, 96, generator=torch.Generator().manual_seed(i))
            image[2] += 1  # blue: half of the seeds light up all of it, and so does no picture of nothing
            scores = torch.zeros(1, 12, 12)
            scores[:, :, :6] = 1
            yield image, scores, (0,)
            yield image, torch.zeros(0, 12, 12), ()
            yield image, torch.zeros(0, 12, 12), ()

    model = Strided()
    refit = learn_refit(model, one_colour)
    image, _, _ = next(one_colour())
    eighth = model.eighth(image[None])
    features = on_one_grid([eighth, model.sixteenth(eighth)])
    logits = refit.places(features.flatten(1).T)
    assert (logits.argmax(1) == 0).all()


def test_what_cannot_be_learnt_is_refused():
    image, _ = scene(0, (0,))
    with pytest.raises(ValueError, match="no seed of any class"):
        learn_refit(Strided(), lambda: [(image, torch.zeros(0, 12, 12), ())])
    with pytest.raises(ValueError, match="at least once, got 0"):
        learn_refit(Strided(), seeds, rounds=0)
    refit = learn_refit(Strided(), seeds, rounds=1)
    with pytest.raises(ValueError, match=r"class 5 was in no seed .*\[0, 1\]"):
        refit(image, [5])
    with pytest.raises(ValueError, match="no place is sure"):
        learn_places(torch.randn(4, 3), torch.full((4,), UNSURE), 2)
    with pytest.raises(ValueError, match="4 and 3"):
        learn_places(torch.randn(4, 3), torch.zeros(3, dtype=torch.int64), 2)
    assert isinstance(refit, Refit)


def test_of_very_many_images_fewer_places_are_kept(monkeypatch):
    monkeypatch.setattr("hedgeseg.seeds.refit.BUDGET", 5 * PLACES * 8 * 2)
    samples = _Samples(torch.Generator().manual_seed(0))
    for _ in range(12):
        samples.add(torch.randn(400, 8), torch.rand(400, 1), (0,))
    assert sum(found.nbytes for found, _, _ in samples.kept) <= 5 * PLACES * 8 * 2
    assert len({len(found) for found, _, _ in samples.kept}) == 1
    assert all(len(found) == len(scores) for found, scores, _ in samples.kept)
