"""Small transformers of many kinds, with random weights that leave nothing at zero."""

from collections.abc import Callable

import torch
from torch import nn
from torchvision.models import SwinTransformer, VisionTransformer
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2


def _timm(name: str, **options) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import timm

        return timm.create_model(name, num_classes=5, **options)

    return build


def _mixer() -> nn.Module:
    import timm

    return timm.models.MlpMixer(num_classes=5, img_size=32, patch_size=8, num_blocks=2, embed_dim=32)


VIT = {"img_size": (32, 48), "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}

# Name to network, size of its images, and the layer and grid that its maps start from.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int], str, tuple[int, int]]] = {
    "torchvision ViT": (
        lambda: VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5), (32, 32),
        "encoder.layers.encoder_layer_1.ln_1", (4, 4),
    ),
    "torchvision Swin": (
        lambda: SwinTransformer([2, 2], 8, [2, 2], [2, 2], [4, 4], num_classes=5), (32, 48), "permute", (8, 12),
    ),
    "torchvision Swin v2": (
        lambda: SwinTransformer([2, 2], 8, [2, 2], [2, 2], [4, 4], num_classes=5, block=SwinTransformerBlockV2,
                                downsample_layer=PatchMergingV2), (32, 32), "permute", (8, 8),
    ),
    "ViT": (_timm("vit_tiny_patch16_224", **VIT), (32, 48), "blocks.1.norm1", (4, 6)),
    "ViT, averaged": (
        _timm("vit_tiny_patch16_224", **VIT, global_pool="avg", fc_norm=False), (32, 48), "norm", (4, 6)
    ),
    "ViT, registers": (_timm("vit_tiny_patch16_224", **VIT, reg_tokens=4), (32, 48), "blocks.1.norm1", (4, 6)),
    "ViT, attention pooling": (
        _timm("vit_tiny_patch16_224", **VIT, global_pool="map", class_token=False), (32, 48), "norm", (4, 6)
    ),
    "DeiT, distilled": (_timm("deit_tiny_distilled_patch16_224", **VIT), (32, 48), "blocks.1.norm1", (4, 6)),
    "EVA-02": (
        _timm("eva02_tiny_patch14_224", img_size=(32, 48), patch_size=8, embed_dim=32, depth=2, num_heads=2), (32, 48),
        "blocks.1", (4, 6),
    ),
    "CaiT": (
        _timm("cait_xxs24_224", img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2), (32, 32),
        "blocks_token_only.1.norm1", (4, 4),
    ),
    "XCiT": (
        _timm("xcit_nano_12_p16_224", img_size=32, embed_dim=32, depth=2, num_heads=2), (64, 64),
        "cls_attn_blocks.1.norm1", (4, 4),
    ),
    "Mixer": (_mixer, (32, 32), "norm", (4, 4)),
    "PVT v2": (
        _timm("pvt_v2_b0", depths=(1, 1, 1, 1), embed_dims=(8, 16, 16, 16), num_heads=(1, 1, 2, 2)), (64, 96),
        "", (2, 3),
    ),
}  # fmt: skip


def build(name: str, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, torch.Tensor]:
    """A network and three images for it."""
    torch.manual_seed(0)
    make, size, _, _ = NETWORKS[name]
    network = make().eval().to(dtype)
    for parameter in network.parameters():
        if float(parameter.detach().abs().max()) < 0.05 or not parameter.detach().any():
            nn.init.normal_(parameter, std=0.2)  # heads, tokens and layer scales that start at (almost) zero
    return network, torch.randn(3, 3, *size, dtype=dtype)
