"""Groups of explanations that rest on the same thing, class by class.

In the manner of SpRAy (Lapuschkin et al., "Unmasking Clever Hans predictors", Nature Communications 2019): a graph of
nearest neighbours, spectral embedding, as many groups as its largest eigengap says, k-means. What is compared is not
the map alone but what the network sees where the map has its evidence (`profile`), so that a group is found wherever
in the pictures its evidence lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

FEWEST = 20
"""Classes of fewer images are not divided: their neighbourhoods would be all of them."""

MOST_CLUSTERS = 8

DENSE = 3000
"""Largest class whose graph is decomposed as a dense matrix."""

PEAK_LEVEL = 0.1
"""Share of a cluster's members that are less typical of it than an image has to be to join it by another peak."""


@dataclass(frozen=True, eq=False)
class Division:
    """A class divided into clusters.

    Attributes:
        labels: int (n,), the cluster of each explanation, by size, the largest first.
        eigenvalues: the smallest of the graph's normalised Laplacian, ascending.
        purity: per cluster, the share of its members' nearest neighbours that are members.
        tightness: per cluster, the mean cosine distance between its members over that between all others (1 where there
            are none), both centred on the class: below 1 its members are more alike than the class is otherwise.
        carried: per cluster, bool (n,): explanations one of whose peaks looks like the cluster's evidence, members
            included.
    """

    labels: Labels
    eigenvalues: Array
    purity: tuple[float, ...]
    tightness: tuple[float, ...]
    carried: tuple[npt.NDArray[np.bool_], ...]


def distance(first: Array, second: Array) -> float:
    """Mean cosine distance of all pairs of two sets of profiles, (n, C) and (m, C)."""
    return 1 - float(_unit(first).mean(0) @ _unit(second).mean(0))


def divide(means: Array, peaks: Array, apart: float = 0.0, seed: int = 0) -> Division:
    """Divide the explanations of one class.

    Args:
        means: (n, C), what the network sees where its evidence is.
        peaks: (n, P, C), the same at the strongest places.
        apart: clusters that are nearer to each other than this cosine distance are one: a gap between explanations
            that rest on almost the same thing means nothing.
        seed: of k-means' beginnings.

    Returns:
        One cluster where there are fewer than `FEWEST` explanations, or no gap says otherwise.

    Raises:
        ImportError: scikit-learn is missing.
    """
    n = len(means)
    centre = _unit(means).mean(0, keepdims=True)
    directions = _unit(_unit(means) - centre)
    if n < FEWEST:
        everything = np.ones(n, bool)
        return Division(np.zeros(n, np.int64), np.zeros(0), (1.0,), (1.0,), (everything,))
    graph = neighbours(directions)
    eigenvalues, vectors = _spectrum(graph)
    count = 1 + int(np.argmax(np.diff(eigenvalues)))
    labels = _k_means(_unit(vectors[:, :count]), count, seed)
    labels = _by_size(_merged(labels, means, apart))
    around = _unit(_unit(peaks) - centre[None])
    kinds = [labels == number for number in range(labels.max() + 1)]
    return Division(
        labels,
        eigenvalues,
        tuple(_purity(graph, members) for members in kinds),
        tuple(_tightness(directions, members) for members in kinds),
        tuple(_carried(directions, around, members) for members in kinds),
    )


def neighbours(directions: Array) -> Labels:
    """Indices (n, k) of the nearest by cosine, with k = sqrt(n) within [7, 30]."""
    from sklearn.neighbors import NearestNeighbors

    count = int(np.clip(round(len(directions) ** 0.5), 7, 30))
    found = NearestNeighbors(n_neighbors=count + 1).fit(directions).kneighbors(directions, return_distance=False)
    # An explanation is its own nearest neighbour, unless copies of it come first.
    kept = [[j for j in row if j != i][:count] for i, row in enumerate(found.tolist())]
    return np.array(kept, np.int64)


def _spectrum(graph: Labels) -> tuple[Array, Array]:
    """The smallest eigenvalues of the normalised Laplacian of the graph without directions, and their vectors."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import laplacian
    from scipy.sparse.linalg import eigsh

    n, count = graph.shape
    rows = np.repeat(np.arange(n), count)
    ones = np.ones(rows.size)
    edges = coo_matrix((ones, (rows, graph.ravel())), shape=(n, n)).tocsr()
    edges = edges.maximum(edges.T)
    wanted = min(MOST_CLUSTERS + 1, n - 1)
    matrix = laplacian(edges, normed=True)
    if n <= DENSE:
        values, vectors = np.linalg.eigh(matrix.toarray())
        return values[:wanted], vectors[:, :wanted]
    start = np.random.default_rng(0).standard_normal(n)
    values, vectors = eigsh(matrix, k=wanted, sigma=-1e-3, which="LM", v0=start)
    order = np.argsort(values)
    return values[order], vectors[:, order]


def _k_means(embedded: Array, count: int, seed: int) -> Labels:
    if count == 1:
        return np.zeros(len(embedded), np.int64)
    from sklearn.cluster import KMeans

    return np.asarray(KMeans(count, n_init=10, random_state=seed).fit_predict(embedded), np.int64)


def _merged(labels: Labels, means: Array, apart: float) -> Labels:
    """Clusters joined, the nearest two first, until all are `apart`."""
    labels = labels.copy()
    while True:
        numbers = np.unique(labels)
        pairs = [(a, b) for a in numbers for b in numbers if a < b]
        if not pairs:
            return labels
        far = [distance(means[labels == a], means[labels == b]) for a, b in pairs]
        nearest = int(np.argmin(far))
        if far[nearest] >= apart:
            return labels
        labels[labels == pairs[nearest][1]] = pairs[nearest][0]


def _by_size(labels: Labels) -> Labels:
    """Cluster numbers in the order of size, the largest 0."""
    _, labels = np.unique(labels, return_inverse=True)
    sizes = np.bincount(labels)
    rank = np.empty(len(sizes), np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return rank[labels]


def _purity(graph: Labels, members: npt.NDArray[np.bool_]) -> float:
    return float(members[graph[members]].mean())


def _tightness(directions: Array, members: npt.NDArray[np.bool_]) -> float:
    inside, outside = _spread(directions[members]), _spread(directions[~members])
    return inside / outside if outside > 0 else 1.0


def _spread(directions: Array) -> float:
    """Mean cosine distance of all pairs of unit vectors; 0 for fewer than two."""
    n = len(directions)
    if n < 2:
        return 0.0
    total = float(np.square(directions.sum(0)).sum())
    return 1 - (total - n) / (n * (n - 1))


def _carried(directions: Array, peaks: Array, members: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    typical = directions[members].mean(0)
    typical = typical / max(float(np.linalg.norm(typical)), 1e-12)
    nearest = (peaks @ typical).max(1)
    level = np.quantile(nearest[members], PEAK_LEVEL)
    return np.asarray(members | (nearest >= level))


def _unit(values: Array) -> Array:
    return values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-12)
