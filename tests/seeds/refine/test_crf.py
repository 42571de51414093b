import numpy as np
import pytest
import torch

from hedgeseg.seeds import dense_crf
from hedgeseg.seeds.refine.crf import PRESETS, label_unary
from hedgeseg.seeds.refine.lattice import PermutohedralLattice


@pytest.mark.parametrize("index", [0, 1, 2])
def test_posteriors_equal_those_of_the_cpp_implementation(shared, index):
    with np.load(shared / "data" / "golden" / "dense_crf.npz") as golden:
        posterior = dense_crf(
            golden[f"image_{index}"], golden[f"probabilities_{index}"], str(golden[f"preset_{index}"])
        )
        assert np.abs(posterior.numpy() - golden[f"posterior_{index}"]).max() <= 5e-5


def two_tone(height=24, width=30):
    image = np.full((height, width, 3), 40, np.uint8)
    image[:, width // 2 :] = 200
    return image


def test_labels_spread_to_the_edge_of_the_picture():
    probabilities = torch.full((2, 24, 30), 0.5)
    probabilities[1, 8:16, 18:26] = 0.9
    probabilities[0, 8:16, 4:12] = 0.9
    probabilities[0] = torch.where(probabilities[1] > 0.5, 0.1, probabilities[0])
    probabilities[1] = torch.where(probabilities[0] > 0.5, 0.1, probabilities[1])
    label = dense_crf(two_tone(), probabilities).argmax(0)
    assert label[:, :15].float().mean() < 0.1
    assert label[:, 15:].float().mean() > 0.9


def test_two_runs_are_equal_bit_for_bit_and_sum_to_one():
    image = np.random.default_rng(0).integers(0, 255, (20, 21, 3), dtype=np.uint8)
    probabilities = torch.softmax(torch.randn(3, 20, 21, generator=torch.Generator().manual_seed(1)), 0)
    first, second = dense_crf(image, probabilities), dense_crf(image, probabilities)
    assert torch.equal(first, second)
    assert torch.allclose(first.sum(0), torch.ones(20, 21), atol=1e-5)


def test_no_iterations_gives_the_unary():
    probabilities = torch.softmax(torch.randn(2, 6, 7), 0)
    assert torch.allclose(dense_crf(two_tone(6, 7), probabilities, iterations=0), probabilities, atol=1e-5)


def test_label_unary_is_the_certainty_of_the_argmax():
    probabilities = torch.tensor([0.2, 0.5, 0.3]).view(3, 1, 1)
    assert torch.allclose(torch.exp(-label_unary(probabilities, 0.7)).flatten(), torch.tensor([0.15, 0.7, 0.15]))


def test_one_label_is_certain():
    assert dense_crf(two_tone(), torch.rand(1, 24, 30)).unique().tolist() == [1.0]


def test_own_kernels_equal_the_preset():
    probabilities = torch.softmax(torch.randn(2, 8, 9), 0)
    named = dense_crf(two_tone(8, 9), probabilities, "psa")
    assert torch.equal(named, dense_crf(two_tone(8, 9), probabilities, PRESETS["psa"]))


@pytest.mark.parametrize("dims", [2, 5])
def test_the_lattice_approximates_the_gaussian_sum(dims):
    points = torch.rand(300, dims, generator=torch.Generator().manual_seed(2)) * 3
    exact = torch.exp(-0.5 * torch.cdist(points, points) ** 2)
    values = torch.rand(300, 2, generator=torch.Generator().manual_seed(3))
    norm_exact = exact @ torch.ones(300, 1)
    lattice = PermutohedralLattice(points)
    averaged = lattice.filter(values) / lattice.filter(torch.ones(300, 1))
    assert torch.allclose(averaged, (exact @ values) / norm_exact, atol=0.12)


def test_bad_input_is_named():
    good = torch.rand(2, 24, 30)
    with pytest.raises(ValueError, match="unknown CRF preset 'irm'"):
        dense_crf(two_tone(), good, "irm")
    with pytest.raises(ValueError, match="uint8"):
        dense_crf(two_tone().astype(np.float32), good)
    with pytest.raises(ValueError, match="resize"):
        dense_crf(two_tone(10, 10), good)
    with pytest.raises(ValueError, match="negative"):
        dense_crf(two_tone(), -good)
    with pytest.raises(ValueError, match="iterations"):
        dense_crf(two_tone(), good, iterations=-1)
