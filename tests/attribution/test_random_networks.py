"""Whole random networks in float64: hedging against a dense-matrix twin, and a batch against its images alone."""

import numpy as np
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from plan_twin import Twin
from random_networks import networks

from hedgeseg.attribution import attribute

SLOW_DRAWS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


@settings(max_examples=120, deadline=None, derandomize=True, database=None, suppress_health_check=SLOW_DRAWS)
@given(networks(), st.sampled_from([1.0, 1.5, 2.0]), st.sampled_from(["main", "influence"]))
def test_hedging_equals_the_twin_of_the_whole_sweep(drawn, gamma, residual):
    network, images = drawn
    for kind in {step.kind for step in network.plan.steps}:
        event(kind)
    result = attribute(network, images, [[0, 2], [1, 2]], gamma=gamma, residual=residual)
    for n in range(2):
        twin = Twin(network, images[n].numpy())
        np.testing.assert_allclose(result.logits[n].numpy(), twin.logits(), rtol=1e-9, atol=1e-9)
        for t in range(2):
            expected = twin.hedge(int(result.targets[n, t]), gamma, residual)
            np.testing.assert_allclose(
                result.maps[n, t].numpy(), expected, rtol=1e-6, atol=1e-9 * max(1.0, np.abs(expected).max())
            )


PROPAGATING = ("hedge", "lrp_epsilon", "lrp_alpha_beta", "rap", "rsp", "agf", "full_grad", "grad_cam")


@settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=SLOW_DRAWS)
@given(networks(stacked=True))
def test_an_image_is_explained_alike_alone_and_in_a_batch_that_the_network_stacks(drawn):
    network, images = drawn
    event(f"copies: {network.copies}")
    for method in PROPAGATING:
        together = attribute(network, images, [[0, 2], [1, 2]], method=method).maps
        for n, targets in enumerate(([0, 2], [1, 2])):
            alone = attribute(network, images[n : n + 1], [targets], method=method).maps[0]
            error = torch.linalg.norm(together[n] - alone) / torch.linalg.norm(alone).clamp(min=1e-12)
            assert error <= 1e-5, f"{method}: {error:.1e}"
