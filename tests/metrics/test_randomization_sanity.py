import numpy as np
import pytest
import torch
from scipy.stats import entropy, spearmanr
from torch import nn

from hedgeseg.metrics import (
    RandomizationSanity,
    efficient_mprt,
    randomizable_layers,
    randomize_all,
    randomized_models,
    smoothed,
)
from hedgeseg.metrics.randomization_sanity import histogram_entropy


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1, bias=False),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip


def gradient(model, images, targets):
    """Gradient times input, in eval mode, as a stand-in for an attribution method."""
    flags = [module.training for module in model.modules()]
    with torch.inference_mode(False), torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        model.eval()
        score = model(leaf).gather(1, targets.clone()[:, None]).sum()
        (slope,) = torch.autograd.grad(score, leaf)
    for module, flag in zip(model.modules(), flags, strict=True):
        module.training = flag
    return (slope * leaf).sum(1).detach()


def batch(count=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, 16, 16, generator=generator), torch.arange(count) % 3


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed_layers(model, twin):
    before, after = model.state_dict(), twin.state_dict()
    return {name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_layers_go_from_the_logits_down_without_normalisation():
    assert randomizable_layers(network()) == ["7", "3", "0"]
    with pytest.raises(ValueError, match="no layer with a weight"):
        randomizable_layers(nn.ReLU())


def test_cascading_keeps_and_independent_restores():
    model = network()
    assert [(n, changed_layers(model, t)) for n, t in randomized_models(model)] == [
        ("7", {"7"}), ("3", {"7", "3"}), ("0", {"7", "3", "0"}),
    ]  # fmt: skip
    independent = randomized_models(model, order="independent")
    assert [(n, changed_layers(model, t)) for n, t in independent] == [("7", {"7"}), ("3", {"3"}), ("0", {"0"})]
    assert [(n, changed_layers(model, t)) for n, t in randomized_models(model, ["3"])] == [("3", {"7", "3"})]
    assert changed_layers(model, randomize_all(model)) == {"7", "3", "0"}


def test_a_seed_means_the_same_weights_in_either_order():
    model, torch_state = network(), torch.get_rng_state()
    full = randomize_all(model, seed=3).state_dict()
    for name, twin in randomized_models(model, order="independent", seed=3):
        assert torch.equal(twin.state_dict()[f"{name}.weight"], full[f"{name}.weight"])
    assert not torch.equal(randomize_all(model, seed=4).state_dict()["0.weight"], full["0.weight"])
    bound = (6 / ((3 + 4) * 9)) ** 0.5
    assert bound * 0.9 < full["0.weight"].abs().max() <= bound
    assert 0 <= full["0.bias"].min() <= full["0.bias"].max() <= 1
    assert torch.equal(torch.get_rng_state(), torch_state)


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("order", ["cascading", "independent"])
def test_the_live_model_is_never_touched(order, inference):
    model = network().train()
    model[1].eval()
    images, targets = batch()
    model(images).sum().backward()
    before, grads = weights(model), [p.grad.clone() for p in model.parameters()]
    identities = [id(p) for p in model.parameters()]
    metric = RandomizationSanity(model, gradient, order)
    with torch.inference_mode(inference):
        metric.update(images, targets)
    metric.update(images, targets)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(p.grad, grad) for p, grad in zip(model.parameters(), grads, strict=True))
    assert [id(p) for p in model.parameters()] == identities
    assert [module.training for module in model.modules()] == [True, True, False, *[True] * 6]
    assert not list(metric.parameters())


def test_bottom_up_goes_from_the_image_to_the_logits():
    model, (images, targets) = network(), batch()
    assert [(n, changed_layers(model, t)) for n, t in randomized_models(model, order="bottom_up")] == [
        ("0", {"0"}), ("3", {"3", "0"}), ("7", {"7", "3", "0"}),
    ]  # fmt: skip
    metrics = {order: RandomizationSanity(model, gradient, order) for order in ("cascading", "bottom_up")}
    for metric in metrics.values():
        metric.update(images, targets)
    assert metrics["bottom_up"].layers == ("0", "3", "7")
    down, up = (metric.compute() for metric in metrics.values())
    # Both end in the same model.
    name = "randomization_sanity_spearman"
    assert up[name][-1].item() == pytest.approx(down[name][-1].item(), abs=1e-6)
    name = "randomization_sanity_efficient_mprt"
    assert up[name].item() == pytest.approx(down[name].item(), abs=1e-6)
    part = RandomizationSanity(model, gradient, "independent", layers=["3"])
    part.update(images, targets)
    assert part.compute()[name].item() == pytest.approx(down[name].item(), abs=1e-6)


def test_smoothed_maps_equal_a_loop_over_noisy_images():
    model, (images, targets) = network(), batch()
    images[1] *= 5
    state = torch.get_rng_state()
    smooth = smoothed(gradient, samples=4, noise=0.2, seed=3)
    maps = smooth(model, images, targets)
    assert torch.equal(torch.get_rng_state(), state)
    generator = torch.Generator().manual_seed(3)
    units = [torch.randn(3, 16, 16, generator=generator) for _ in range(4)]
    for i in range(3):
        image, spread = images[i], 0.2 * (images[i].max() - images[i].min())
        expected = sum(gradient(model, (image + spread * unit)[None], targets[i : i + 1]) for unit in units) / 4
        torch.testing.assert_close(maps[i : i + 1], expected)
    torch.testing.assert_close(
        smoothed(gradient, samples=1, noise=0.0)(model, images, targets), gradient(model, images, targets)
    )
    with pytest.raises(ValueError, match="samples=0"):
        smoothed(gradient, samples=0)


def test_smooth_mprt_sees_through_noise_that_is_no_explanation():
    model, (images, targets) = network(), batch()

    def noisy(model, images, targets):
        # A map whose sign follows the pixels' finest detail: unlike itself after the slightest change.
        return (images.sum(1) * 40).sin() + gradient(model, images, targets)

    plain = RandomizationSanity(model, noisy, "bottom_up")
    smooth = RandomizationSanity(model, smoothed(noisy, samples=20), "bottom_up")
    for metric in (plain, smooth):
        metric.update(images, targets)
    name = "randomization_sanity"
    assert smooth.compute()[name] < plain.compute()[name]


def test_curves_equal_scipy():
    model, (images, targets) = network(), batch()
    metric = RandomizationSanity(model, gradient, seeds=(0, 1))
    metric.update(images, targets)
    result = metric.compute()
    assert metric.layers == ("7", "3", "0")
    original = gradient(model, images, targets).numpy()
    signed, absolute = np.zeros(3), np.zeros(3)
    for seed in (0, 1):
        for row, (_, twin) in enumerate(randomized_models(model, seed=seed)):
            for old, new in zip(original, gradient(twin, images, targets).numpy(), strict=True):
                signed[row] += spearmanr(old.ravel(), new.ravel()).statistic / 6
                absolute[row] += spearmanr(abs(old).ravel(), abs(new).ravel()).statistic / 6
    np.testing.assert_allclose(result["randomization_sanity_spearman"].numpy(), signed, atol=1e-6)
    np.testing.assert_allclose(result["randomization_sanity_spearman_abs"].numpy(), absolute, atol=1e-6)
    assert result["randomization_sanity"].item() == pytest.approx(signed.mean(), abs=1e-6)
    assert result["randomization_sanity_maps"].item() == 6
    assert result["randomization_sanity_ssim"].shape == (3,)


def test_an_explanation_of_the_image_alone_fails():
    metric = RandomizationSanity(network(), lambda model, images, targets: images.mean(1))
    metric.update(*batch())
    result = metric.compute()
    assert result["randomization_sanity"].item() == pytest.approx(1.0)
    assert result["randomization_sanity_ssim"].tolist() == pytest.approx([1.0] * 3)
    assert result["randomization_sanity_efficient_mprt"].item() == 0.0


def test_an_image_does_not_depend_on_its_batch_and_given_maps_are_used():
    model, (images, targets) = network(), batch()
    together, apart = RandomizationSanity(model, gradient), RandomizationSanity(model, gradient)
    together.update(images, targets, gradient(model, images, targets))
    for i in range(3):
        apart.update(images[i : i + 1], targets[i : i + 1])
    first, second = together.compute(), apart.compute()
    for key in first:
        torch.testing.assert_close(first[key], second[key], atol=1e-5, rtol=1e-4)


def test_entropy_equals_numpy_and_a_constant_map_has_none():
    maps = np.random.default_rng(0).standard_normal((3, 30, 30)).astype(np.float32)
    expected = [entropy(np.histogram(row, bins=100)[0]) for row in maps]
    np.testing.assert_allclose(histogram_entropy(torch.from_numpy(maps)).numpy(), expected, atol=1e-3)
    flat, other = torch.ones(1, 4, 4), torch.rand(1, 4, 4)
    assert histogram_entropy(flat).item() == 0.0
    assert efficient_mprt(flat, other).isnan().all()
    assert efficient_mprt(other, flat).item() == -1.0


def test_constant_maps_are_left_out_of_the_correlation():
    def flat_when_random(model, images, targets):
        return images.mean(1) if model is trained else torch.zeros_like(images[:, 0])

    trained = network()
    metric = RandomizationSanity(trained, flat_when_random)
    metric.update(*batch())
    with pytest.warns(UserWarning, match="3 were given, all of them without a defined value"):
        result = metric.compute()
    assert result["randomization_sanity"].isnan()
    assert result["randomization_sanity_efficient_mprt"].item() == -1.0


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="layer 'head' cannot be randomised; choose among 7, 3, 0"):
        RandomizationSanity(network(), gradient, layers=["head"])
    with pytest.raises(ValueError, match="layer 'head' cannot be randomised"):
        next(randomized_models(network(), ["head"]))
    with pytest.raises(ValueError, match="order must be"):
        RandomizationSanity(network(), gradient, order="upwards")
    with pytest.raises(ValueError, match="seeds must hold"):
        RandomizationSanity(network(), gradient, seeds=())

    def broken(model, images, targets):
        return images.mean(1) if model is trained else images.mean(1) * torch.nan

    trained = network()
    with pytest.raises(ValueError, match=r"after randomising 7, maps\[0\] holds NaN"):
        RandomizationSanity(trained, broken).update(*batch())
