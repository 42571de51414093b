"""Which image every entry of a recorded value belongs to: nothing else may change when one image does."""

import pytest
import torch
from stacked_networks import PLANS, Stacked
from torch import nn

from hedgeseg.attribution.nodes import Keeps, leading_to
from hedgeseg.attribution.recording import MixedImagesError, record
from hedgeseg.attribution.samples import Samples, by_sample, per_sample, spread


def recorded(model, images):
    recording = record(model, images, lambda op: Keeps(inputs=True, outputs=True))
    values = [recording.tape.images]
    values += [v for op in leading_to(recording.logits_value) for v in op.outputs if v is not None]
    return values


def assert_told_apart(model, images):
    before = recorded(model, images)
    for n in range(len(images)):
        changed = images.clone()
        changed[n] = torch.randn_like(changed[n])
        for old, new in zip(before, recorded(model, changed), strict=True):
            assert old.samples == new.samples
            if old.samples is None or old.data is None:
                continue
            shape = [1] * old.data.ndim
            shape[old.samples.dim] = -1
            mine = old.samples.labels(old.shape[old.samples.dim]).view(shape) == n
            differs = (old.data != new.data) & ~(old.data.isnan() & new.data.isnan())
            assert not (differs & ~mine).any(), old.producer
            if old.data.is_floating_point() and old.producer is None:
                assert differs.any()


@pytest.mark.parametrize("plan", PLANS)
def test_an_image_changes_its_own_entries_alone(plan):
    torch.manual_seed(0)
    images = torch.randn(3, 3, 16, 12)
    assert_told_apart(Stacked(plan).eval(), images)


class Everything(nn.Module):
    """Many operations in a row that keep images apart, in layouts that move about."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.InstanceNorm2d(6)
        self.group, self.layer = nn.GroupNorm(2, 6), nn.LayerNorm(6)
        self.attention = nn.MultiheadAttention(6, 2)  # sequence first
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        x = self.group(self.norm(torch.cat([self.conv(x), self.conv(x.roll(1, 3))])))  # (2N, 6, h, w)
        x = nn.functional.interpolate(nn.functional.pad(x, (1, 1, 0, 2)), scale_factor=0.5)
        y = x.unflatten(0, (2, -1)).transpose(0, 1)  # (N, 2, 6, h, w)
        y = torch.stack([y[:, 0], y[:, 1].clone()]).flip(0)  # (2, N, ...)
        z = torch.zeros_like(y)
        z[:, :, :3] = y[:, :, 3:]
        z[:, :, 3:] = y.softmax(2)[:, :, :3]
        z = z + y.amax((3, 4), keepdim=True) * torch.sigmoid(y.mean((2, 3, 4), keepdim=True))
        z = z.flatten(3).permute(3, 1, 0, 2).flatten(1, 2)  # (hw, 2N interleaved, 6)
        z = self.layer(self.attention(z, z, z)[0] + z)
        z = z.cumsum(0).sort(0).values.unflatten(1, (-1, 2)).logsumexp((0, 2))
        return self.fc(z)


def test_layouts_that_move_about():
    torch.manual_seed(0)
    model = Everything().eval()
    for batch in (2, 3):
        assert_told_apart(model, torch.randn(batch, 3, 10, 8))


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x - x.mean(0, keepdim=True),
        lambda x: x / x.abs().max(),
        lambda x: x.flip(0),
        lambda x: x.roll(1, 0),
        lambda x: x.cumsum(0),
        lambda x: x.softmax(0),
        lambda x: x[[0] * len(x)],
        lambda x: torch.cat([x[1:], x[:1]]),
        lambda x: (x.flatten(1) @ x.flatten(1).T @ x.flatten(1)).view_as(x),
        lambda x: nn.functional.batch_norm(x, None, None, training=True),
        lambda x: x * float(x.mean()),
        lambda x: x.transpose(0, 1).reshape(x.shape),
        lambda x: x + x.permute(1, 0, 2, 3),
        lambda x: torch.nn.functional.conv2d(x.transpose(0, 1), torch.ones(3, 3, 1, 1)).transpose(0, 1),
        lambda x: x.index_put((torch.tensor([0]),), x[-1:]),
        lambda x: torch.nn.functional.avg_pool3d(x.transpose(0, 1)[None], 3, 1, 1)[0].transpose(0, 1),
    ],
)
def test_a_network_that_mixes_images_is_noticed(mix):
    class Mixing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x):
            return self.fc(self.conv(mix(x)).relu().mean((2, 3)))

    with pytest.raises(MixedImagesError):
        recorded(Mixing(), torch.randn(3, 3, 8, 8))


@pytest.mark.parametrize(("dim", "inner", "outer"), [(0, 1, 1), (0, 3, 1), (0, 1, 2), (1, 2, 3), (2, 1, 2)])
def test_sums_per_image(dim, inner, outer):
    samples, shape = Samples(4, dim, inner), [5, 3, 2]
    shape[dim] = outer * 4 * inner
    r = torch.randn(2, *shape, dtype=torch.float64)
    labels = samples.labels(shape[dim])
    rows = [(labels == n).nonzero()[:, 0] for n in range(4)]
    expected = torch.stack([r.index_select(dim + 1, mine).flatten(1).sum(1) for mine in rows], 1)
    torch.testing.assert_close(per_sample(r, samples), expected)
    shares = spread(torch.arange(8.0).view(2, 4), r, samples).expand_as(r)
    assert torch.equal(shares.select(dim + 1, 0).flatten()[0], torch.tensor(0.0))
    torch.testing.assert_close(per_sample(shares, samples), torch.arange(8.0).view(2, 4) * (r[0].numel() // 4))
    torch.testing.assert_close(by_sample(r[0], samples).sum(1), expected[0])
    assert samples.copies(tuple(shape)) == inner * outer
