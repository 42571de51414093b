import torch

from hedgeseg.audit.profile import profile


def test_the_profile_is_what_lies_under_the_evidence_wherever_it_is():
    counts = torch.rand(2, 8, 5, 5)
    maps = torch.zeros(2, 50, 50)
    maps[0, 12:18, 42:48] = 1.0
    maps[1, 12:18, 42:48] = 3.0
    maps[1, 0:10, 0:10] = -9.0  # against the class: no part of what it is seen by
    found = profile(counts, maps)
    expected = counts[:, :, 1, 4] / counts[:, :, 1, 4].norm(dim=1, keepdim=True)
    torch.testing.assert_close(found.mean, expected)
    torch.testing.assert_close(found.peaks[:, 0], expected)


def test_peaks_are_no_neighbours_and_come_by_strength():
    counts = torch.eye(36).view(1, 36, 6, 6)
    relevance = torch.zeros(6, 6)
    relevance[0, 0], relevance[0, 1], relevance[4, 4], relevance[2, 5] = 4.0, 3.5, 2.0, 1.0
    peaks = profile(counts, relevance[None]).peaks[0]
    assert [int(p.argmax()) for p in peaks] == [0, 4 * 6 + 4, 2 * 6 + 5]


def test_no_evidence_gives_a_profile_of_zeros():
    assert not profile(torch.rand(1, 4, 3, 3), torch.zeros(1, 9, 9)).mean.any()
