import torch

from hedgeseg.audit.removal import LARGEST, control_region, evidence_region, paint_over


def spot(size=64):
    relevance = torch.zeros(size, size)
    relevance[10:16, 40:46] = 1.0
    return relevance


def test_the_region_is_the_strongest_piece_alone():
    relevance = spot()
    relevance[50:56, 5:11] = 0.9  # strong too, but apart
    region = evidence_region(relevance)
    assert region[10:16, 40:46].all()
    assert not region[45:].any()


def test_a_broad_map_loses_no_more_than_the_largest_region():
    relevance = torch.rand(60, 80, generator=torch.Generator().manual_seed(0)) + 5
    assert 0 < evidence_region(relevance).float().mean() <= LARGEST + 0.01


def test_a_map_without_evidence_has_no_region():
    assert not evidence_region(-torch.ones(20, 20)).any()


def test_the_control_has_the_shape_and_lies_elsewhere_where_least_is():
    relevance = spot()
    relevance[:, :32] += 0.1
    region = evidence_region(relevance)
    control = control_region(region, relevance)
    assert control.sum() == region.sum()
    assert not (control & region).any()
    assert relevance[control].clamp(min=0).sum() <= relevance[region].sum() / 10


def test_painting_over_leaves_the_rest_and_takes_from_around():
    image = torch.zeros(3, 40, 40)
    image[:, 15:25, 15:25] = 7.0
    region = torch.zeros(40, 40, dtype=torch.bool)
    region[14:26, 14:26] = True
    painted = paint_over(image, region)
    assert torch.equal(painted[:, ~region], image[:, ~region])
    assert painted.abs().max() < 1e-3


def test_painting_takes_any_number_of_channels():
    image = torch.randn(5, 20, 30)
    region = torch.zeros(20, 30, dtype=torch.bool)
    region[5:9, 5:9] = True
    assert paint_over(image, region).isfinite().all()


def test_the_evidence_near_a_place_is_found_beside_stronger_one():
    relevance = spot()
    relevance[50:56, 5:11] = 0.2
    region = evidence_region(relevance, (51.0, 9.0))
    assert region[50:56, 5:11].all()
    assert not region[:40].any()
    assert not evidence_region(relevance, (5.0, 5.0)).any()
