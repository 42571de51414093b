import numpy as np
import pytest

from hedgeseg.audit.clusters import FEWEST, distance, divide

pytest.importorskip("sklearn")


def natural(n, seed, dimensions=96, rank=24):
    """Profiles that differ gradually: positive, unit length, no groups."""
    rng = np.random.default_rng(seed)
    basis = rng.random((rank, dimensions)) ** 4
    values = rng.dirichlet(np.full(rank, 2.0), n) @ basis + 0.02 * rng.random((n, dimensions))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def with_tag(n, share, seed, seen=1.0):
    """The same, where a share rests on something else, which some of it shows at its second peak alone."""
    rng = np.random.default_rng(seed + 100)
    own, means = natural(n, seed), natural(n, seed)
    tagged = np.arange(n) < round(share * n)
    thing = rng.random(own.shape[1]) ** 8
    tag = thing + 0.1 * rng.random((n, own.shape[1])) * thing.max()
    tag /= np.linalg.norm(tag, axis=1, keepdims=True)
    first = tagged & (rng.random(n) < seen)
    means[first] = tag[first]
    second = np.where((tagged & ~first)[:, None], tag, own)
    peaks = np.stack([means, second, own], 1)
    return means, peaks, tagged


@pytest.mark.parametrize("seed", range(10))
def test_gradual_differences_are_one_cluster(seed):
    means = natural(150, seed)
    assert divide(means, np.repeat(means[:, None], 3, 1)).labels.max() == 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_a_planted_group_is_found_whole(seed, share):
    means, peaks, tagged = with_tag(150, share, seed)
    division = divide(means, peaks)
    number = np.bincount(division.labels[tagged]).argmax()
    assert ((division.labels == number) == tagged).mean() > 0.98
    assert division.purity[number] > 0.85
    assert division.tightness[number] < 0.95


def test_images_that_carry_the_evidence_beside_other_join_it():
    means, peaks, tagged = with_tag(200, 0.4, 3, seen=0.85)
    division = divide(means, peaks)
    number = int(np.bincount(division.labels[tagged]).argmax())
    assert (division.labels == number)[tagged].mean() < 0.95
    assert division.carried[number][tagged].mean() > 0.95
    assert division.carried[number][~tagged].mean() < 0.05


def test_groups_nearer_than_asked_are_one():
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(6)[:2] * 0.05 + 1, 40, 0)
    means = centres + 0.001 * rng.random((80, 6))
    peaks = means[:, None]
    assert divide(means, peaks).labels.max() >= 1
    assert divide(means, peaks, apart=0.1).labels.max() == 0


def test_few_images_are_not_divided():
    means, peaks, _ = with_tag(FEWEST - 1, 0.4, 0)
    assert divide(means, peaks).labels.max() == 0


def test_distance_is_the_mean_over_pairs():
    first, second = natural(5, 0), natural(7, 1)
    expected = np.mean([1 - a @ b for a in first for b in second])
    assert distance(first, second) == pytest.approx(expected)


def test_the_sparse_solver_finds_what_the_dense_one_does(monkeypatch):
    means, peaks, _ = with_tag(160, 0.3, 2)
    dense = divide(means, peaks)
    monkeypatch.setattr("hedgeseg.audit.clusters.DENSE", 10)
    sparse = divide(means, peaks)
    assert np.allclose(dense.eigenvalues, sparse.eigenvalues, atol=1e-6)
    assert np.array_equal(dense.labels, sparse.labels)
