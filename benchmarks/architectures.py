"""Which architectures hedging explains as they are: torchvision's and timm's networks, unedited, with random weights.

    uv run benchmarks/architectures.py --out runs/architectures

For every network: the layer that `resolve_layer` finds, whether the maps are finite with an absolute mass of 2,
whether an image's map depends on its batch, how alike the maps of two classes are, and the operation without a rule
where there is one. Writes a markdown table. Needs `hedgeseg[timm]`; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from tqdm import tqdm

from hedgeseg import attribute

TORCHVISION = (
    "alexnet", "vgg11", "vgg16_bn", "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "densenet121",
    "inception_v3", "googlenet", "squeezenet1_0", "squeezenet1_1", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0",
    "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mnasnet0_5", "mnasnet1_0", "efficientnet_b0",
    "efficientnet_b1", "efficientnet_v2_s", "regnet_x_400mf", "regnet_y_400mf", "convnext_tiny",
)  # fmt: skip

# One small network of each family.
TIMM = (
    "resnet26d", "resnetv2_50", "res2net50_14w_8s", "resnest14d", "seresnet50", "ecaresnet26t", "skresnet18",
    "legacy_seresnet18", "cspresnet50", "cspdarknet53", "cs3darknet_s", "darknet53", "densenet121", "dla34",
    "dpn48b", "dm_nfnet_f0", "nf_resnet50", "eca_nfnet_l0", "efficientnet_lite0", "tf_efficientnetv2_b0",
    "mixnet_s", "tinynet_e", "fbnetc_100", "hardcorenas_a", "lcnet_050", "ghostnet_050", "ghostnetv2_100",
    "mobilenetv1_100", "mobilenetv3_small_050", "mobilenetv4_conv_small", "mobileone_s0", "repvgg_a0",
    "repghostnet_050", "gernet_s", "hgnet_tiny", "hgnetv2_b0", "hrnet_w18_small", "inception_v4",
    "inception_resnet_v2", "inception_next_atto", "nasnetalarge", "pnasnet5large", "legacy_xception", "xception41",
    "selecsls42b", "ese_vovnet19b_dw", "rexnet_100", "regnety_002", "regnetx_002", "convnext_atto",
    "convnextv2_atto", "convmixer_768_32", "rdnet_tiny", "fasternet_t0", "starnet_s1", "focalnet_tiny_srf",
    "poolformer_s12", "tresnet_m", "vgg11_bn", "mambaout_femto", "repvit_m0_9",
)  # fmt: skip


# Networks of tokens, with the size of their images; those of timm that can be built for another size, for a small one.
TORCHVISION_TOKENS = {"vit_b_16": 224, "vit_b_32": 224, "swin_t": 112, "swin_s": 112, "swin_v2_t": 128, "maxvit_t": 224}
RESIZABLE = {
    "deit_tiny_patch16_224": 96, "deit_tiny_distilled_patch16_224": 96, "deit3_small_patch16_224": 96,
    "beit_base_patch16_224": 96, "eva02_tiny_patch14_224": 98, "vit_tiny_patch16_224": 96,
    "vit_little_patch16_reg4_gap_256": 96, "vit_base_patch16_siglip_224": 96, "swin_tiny_patch4_window7_224": 112,
    "swinv2_cr_tiny_ns_224": 112, "cait_xxs24_224": 96, "xcit_nano_12_p16_224": 96, "mvitv2_tiny": 96,
    "coatnet_pico_rw_224": 96,
}  # fmt: skip
OF_ANY_SIZE = {
    "pvt_v2_b0": 96, "edgenext_xx_small": 96, "mobilevit_xxs": 128, "mobilevitv2_050": 128, "convformer_s18": 96,
    "caformer_s18": 96, "davit_tiny": 112, "efficientvit_b0": 96,
}  # fmt: skip
FIXED_TOKENS = {
    "swinv2_tiny_window8_256": 256, "maxxvit_rmlp_nano_rw_256": 256, "efficientformer_l1": 224, "levit_128s": 224,
    "mixer_s32_224": 224, "efficientformerv2_s0": 224, "tiny_vit_5m_224": 224,
}  # fmt: skip
TOKENS = {**TORCHVISION_TOKENS, **RESIZABLE, **OF_ANY_SIZE, **FIXED_TOKENS}
FIXED_SIZE = {"inception_v3": 299, **TOKENS}
ALL = (*TORCHVISION, *TIMM, *TOKENS)


def networks(wanted: Collection[str]) -> Iterator[tuple[str, str, nn.Module]]:
    """Library, name and network, one at a time."""
    for name in filter(wanted.__contains__, (*TORCHVISION, *TORCHVISION_TOKENS)):
        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        yield "torchvision", name, torchvision.models.get_model(name, weights=None, num_classes=10, **options)
    import timm

    for name in filter(wanted.__contains__, (*TIMM, *(n for n in TOKENS if n not in TORCHVISION_TOKENS))):
        try:
            options = {"img_size": RESIZABLE[name]} if name in RESIZABLE else {}
            yield "timm", name, timm.create_model(name, pretrained=False, num_classes=10, **options)
        except RuntimeError as error:  # a name that this version of timm does not have
            tqdm.write(f"{name}: {error}")


def seen(network: nn.Module, size: int, generator: torch.Generator) -> None:
    """Statistics of batch norm as after a step of training: with the initial ones, activations vanish or explode."""
    network.train()
    with torch.no_grad():
        network(torch.randn(4, 3, size, size, generator=generator))
    network.eval()


def awake(network: nn.Module) -> None:
    """Give what starts at zero (heads, layer scales, tokens) a size: maps of a branch that does nothing say nothing."""
    for parameter in network.parameters():
        if float(parameter.detach().abs().max()) < 1e-3:
            nn.init.normal_(parameter, std=0.1)


def verdict(network: nn.Module, images: Tensor) -> str:
    """One line on the maps of two images."""
    try:
        result = attribute(network, images, [[1, 3], [2, 4]])
        alone = attribute(network, images[1:], [[2, 4]])
    except (NotImplementedError, ValueError, TypeError) as error:
        return f"refused: {str(error).split('. ')[0]}"
    if not result.maps.isfinite().all():
        return f"NOT FINITE (layer {result.layer})"
    if not result.maps.abs().sum((2, 3)).gt(0).all():
        return f"EMPTY (layer {result.layer})"
    apart = (result.maps[1:] - alone.maps).abs().max() / alone.maps.abs().max()
    alike = nn.functional.cosine_similarity(*result.maps.flatten(2).unbind(1), dim=1).max()
    return f"`{result.layer}` | {float(apart):.0e} | {float(alike):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels")
    parser.add_argument("--only", nargs="+", default=ALL, metavar="NAME", help="default: all")
    parser.add_argument("--out", type=Path, default=Path("runs/architectures"), help="folder for table.md")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    lines = [
        "| library | network | layer | an image alone against in a batch, relative | cosine of two classes' maps |",
        "|---|---|---|---|---|",
    ]
    for library, name, network in tqdm(networks(arguments.only), total=len(arguments.only)):
        size = FIXED_SIZE.get(name, arguments.size)
        seen(network, size, generator)
        if name in TOKENS:
            awake(network)
        line = verdict(network, torch.randn(2, 3, size, size, generator=generator))
        lines.append(f"| {library} | {name} | {line if ' | ' in line else line + ' | - | -'} |")
        tqdm.write(lines[-1])
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"wrote {arguments.out / 'table.md'}")


if __name__ == "__main__":
    main()
