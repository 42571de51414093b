"""Fused attention kernels, written out while recording: the same numbers, and a matrix on the tape to look at."""

import pytest
import torch
from torch import nn

from hedgeseg.attribution.attention import attention_side, mixes_images
from hedgeseg.attribution.explaining import explaining
from hedgeseg.attribution.nodes import Keeps
from hedgeseg.attribution.recording import record


class Attending(nn.Module):
    """Scaled dot-product attention over the positions of a map, with options of the kernel."""

    def __init__(self, heads=2, kv_heads=2, mask=None, **options):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)
        self.q, self.k, self.v = nn.Linear(8, 4 * heads), nn.Linear(8, 4 * kv_heads), nn.Linear(8, 4 * kv_heads)
        self.heads, self.kv_heads, self.mask, self.options = heads, kv_heads, mask, options

    def forward(self, x):
        y = self.conv(x).flatten(2).mT
        q = self.q(y).unflatten(-1, (self.heads, 4)).transpose(1, 2)
        k, v = (f(y).unflatten(-1, (self.kv_heads, 4)).transpose(1, 2) for f in (self.k, self.v))
        y = nn.functional.scaled_dot_product_attention(q, k, v, self.mask, **self.options)
        return self.fc(y.transpose(1, 2).flatten(2).mean(1))


def recorded(model, images):
    with explaining(model):
        return record(model, images, lambda op: Keeps())


def attentions(recording):
    return [op for op in recording.tape.ops if mixes_images(op) and attention_side(op) == 0]


def mask(kind):
    torch.manual_seed(1)
    allowed = torch.rand(16, 16) < 0.5
    allowed[3] = False  # a query that may attend to nothing
    return allowed if kind == "bool" else torch.randn(16, 16)


@pytest.mark.parametrize(
    "options",
    [{}, {"scale": 0.3}, {"is_causal": True}, {"mask": mask("bool")}, {"mask": mask("float")},
     {"kv_heads": 1, "enable_gqa": True}],
    ids=["plain", "scale", "causal", "bool mask", "float mask", "grouped queries"],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scaled_dot_product_attention(options, dtype):
    torch.manual_seed(0)
    if "mask" in options and options["mask"].is_floating_point():
        options = {**options, "mask": options["mask"].to(dtype)}
    model, images = Attending(**options).eval().to(dtype), torch.randn(2, 3, 6, 6, dtype=dtype)
    found = recorded(model, images)
    torch.testing.assert_close(found.logits, model(images))
    assert len(attentions(found)) == 1
    assert not any("scaled_dot_product" in op.name for op in found.tape.ops)


class Encoder(nn.Module):
    def __init__(self, norm_first=True, batch_first=True, hooks=True, activation="gelu"):
        super().__init__()
        self.conv, self.fc, self.batch_first = nn.Conv2d(3, 8, 3), nn.Linear(8, 5), batch_first
        layer = nn.TransformerEncoderLayer(8, 2, 16, norm_first=norm_first, batch_first=batch_first,
                                           activation=activation)  # fmt: skip
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x):
        y = self.conv(x).flatten(2).permute(0, 2, 1) if self.batch_first else self.conv(x).flatten(2).permute(2, 0, 1)
        return self.fc(self.blocks(y).mean(1 if self.batch_first else 0))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_torch_encoder_layers_and_their_fast_paths(norm_first, batch_first, activation):
    torch.manual_seed(0)
    model, images = Encoder(norm_first, batch_first, activation=activation).eval(), torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        expected = model(images)
    found = recorded(model, images)
    torch.testing.assert_close(found.logits, expected)
    assert len(attentions(found)) == 2


def test_the_fused_encoder_layer_itself():
    class Fast(nn.Module):
        def __init__(self, norm_first):
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, norm_first=norm_first, batch_first=True)

        def forward(self, x):
            layer, attention = self.layer, self.layer.self_attn
            y = torch._transformer_encoder_layer_fwd(
                x.flatten(2), 8, 2, attention.in_proj_weight, attention.in_proj_bias, attention.out_proj.weight,
                attention.out_proj.bias, False, layer.norm_first, layer.norm1.eps, layer.norm1.weight, layer.norm1.bias,
                layer.norm2.weight, layer.norm2.bias, layer.linear1.weight, layer.linear1.bias, layer.linear2.weight,
                layer.linear2.bias,
            )  # fmt: skip
            return y.mean(1)

    for norm_first in (True, False):
        torch.manual_seed(0)
        model, images = Fast(norm_first).eval(), torch.randn(2, 6, 2, 4)
        found = recorded(model, images)
        with torch.no_grad():
            torch.testing.assert_close(found.logits, model(images))
        assert len(attentions(found)) == 1


@pytest.mark.parametrize("padded", [False, True])
def test_masks_of_the_fast_path_of_multi_head_attention(padded):
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            y = x.flatten(2)
            ahead = torch.ones(6, 6, dtype=torch.bool).triu(1)
            padding = torch.zeros(len(y), 6, dtype=torch.bool)
            padding[:, 4:] = True
            masks = {"key_padding_mask": padding} if padded else {"attn_mask": ahead}
            return self.attention(y, y, y, **masks)[0].mean(1)

    torch.manual_seed(0)
    model, images = Masked().eval(), torch.randn(2, 6, 2, 4)
    found = recorded(model, images)
    with torch.no_grad():
        torch.testing.assert_close(found.logits, model(images))
    assert len(attentions(found)) == 1
