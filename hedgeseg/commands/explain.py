"""`hedgeseg explain`: the maps of one photograph as a picture."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from hedgeseg.attribution import METHODS, attribute
from hedgeseg.commands.classes import class_index, class_names
from hedgeseg.commands.errors import UsageError
from hedgeseg.visual import IMAGENET_MEAN, IMAGENET_STD, Picture, contact_sheet, overlay, seismic

EPILOG = """
examples:
  hedgeseg explain dog.jpg --model resnet50 --target "golden retriever" --target 281 --out figure.png
  hedgeseg explain scan.png --model resnet18 --weights mine.ckpt --classes healthy,ill --target ill --gamma 2
  hedgeseg explain dog.jpg --model mobilenet_v2 --weights mobilenet_v2.pth --size 225 --method grad_cam

DEFAULT fetches torchvision's weights once and needs a network connection; a file needs none. The picture has a row per
target: the photograph, the signed map (red for the class, blue against it), and both in one.
"""


def add(commands: Any) -> None:
    """Declare the subcommand."""
    parser = commands.add_parser(
        "explain",
        help="draw where a classifier sees a class in a photograph",
        description="Explain a photograph and draw, for every target, the signed map and its overlay.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("image", type=Path, help="a photograph: JPEG, PNG, WebP, TIFF, ...")
    parser.add_argument("--model", required=True, help="torchvision architecture, such as resnet50, or timm/<name>")
    parser.add_argument(
        "--weights", default="DEFAULT", help="a state dict or checkpoint, or torchvision's name (default: %(default)s)"
    )
    parser.add_argument(
        "--target", action="append", help="class name or index; may be repeated (default: what the model sees)"
    )
    parser.add_argument("--classes", help="names of the classes: voc, a file with one per line, or a,b,c")
    parser.add_argument("--method", default="hedge", choices=METHODS, metavar="METHOD", help="see `hedgeseg methods`")
    parser.add_argument("--layer", help="where the initial map is taken from (default: chosen by the architecture)")
    parser.add_argument("--gamma", type=float, help="of hedging, in [1, 2]: 1 is sharpest, 2 covers most")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="another option of the method"
    )
    parser.add_argument("--size", type=int, default=224, help="shorter side the model sees (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="such as cuda (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="the picture to write (default: IMAGE_METHOD.png in this folder)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Explain, draw, and say what was drawn."""
    options = _options(arguments)
    out = arguments.out or Path(f"{arguments.image.stem}_{arguments.method}.png")
    _check(arguments, out)
    picture = read_picture(arguments.image, arguments.size)
    network, names = load_network(arguments.model, arguments.weights)
    if arguments.classes:
        names = class_names(arguments.classes)
    network, images = network.to(arguments.device).eval(), normalised(picture).to(arguments.device)
    with torch.no_grad():
        logits = network(images)[0]
    targets = [class_index(t, names, len(logits)) for t in arguments.target or [str(int(logits.argmax()))]]
    result = attribute(network, images, [targets], arguments.method, layer=arguments.layer, binary=False, **options)
    captions = [_caption(t, names, result.logits[0]) for t in targets]
    settings = "  ".join(f"{name}={value}" for name, value in result.options.items() if value not in ((), None))
    title = "  ".join(filter(None, (arguments.model, result.method, result.layer, settings)))
    write_picture(out, figure(picture, result.maps[0], captions, title))
    print(f"{out}: {title}")
    for caption in captions:
        print(f"  {caption}")
    return 0


def load_network(arch: str, weights: str) -> tuple[nn.Module, Sequence[str]]:
    """A network as wide as its weights, and the names of its classes where torchvision tells them."""
    from hedgeseg.models.architectures import build_network, head_name, read_state

    with torch.device("meta"):
        head = head_name(build_network(arch, 2))
    state = read_state(arch, weights)
    if f"{head}.weight" not in state:
        raise ValueError(f"{weights} does not fit {arch}: it holds no {head}.weight. Is it for another architecture?")
    width = len(state[f"{head}.weight"])
    return build_network(arch, width, weights), _names(arch, width)


def figure(picture: Picture, maps: Tensor, captions: Sequence[str], title: str) -> Picture:
    """Photograph, signed map and overlay side by side, one row per target.

    Args:
        picture: uint8 (H, W, 3).
        maps: (T, H, W).
        captions: One per target.
        title: On top.
    """
    cells = [[picture, seismic(relevance), overlay(picture, relevance)] for relevance in maps]
    return contact_sheet(cells, ("image", "red for, blue against", "overlay"), captions, title)


def read_picture(path: Path, size: int) -> Picture:
    """A photograph as uint8 (H, W, 3), its shorter side resized to `size`."""
    from hedgeseg.data.images import read_image

    return resized(read_image(path), size)


def resized(picture: Picture, size: int) -> Picture:
    """A picture (H, W, 3) with its shorter side resized to `size`."""
    image = Image.fromarray(picture)
    scale = size / min(image.size)
    wide, high = (max(size, round(side * scale)) for side in image.size)
    return np.asarray(image.resize((wide, high), Image.Resampling.BILINEAR, reducing_gap=None))


def normalised(picture: Picture) -> Tensor:
    """A picture as ImageNet's networks take it: float32 (1, 3, H, W)."""
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    return (pixels - torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)) / torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)


def write_picture(path: Path, picture: Picture) -> None:
    """Write a picture in the format that the path's suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def _check(arguments: argparse.Namespace, out: Path) -> None:
    """Refuse at once what would fail after minutes of work."""
    if not arguments.image.is_file():
        raise FileNotFoundError(f"{arguments.image}: {'a folder' if arguments.image.is_dir() else 'no such file'}")
    if arguments.size < 1:
        raise UsageError(f"--size {arguments.size}: must be positive")
    if out.suffix.lower() not in Image.registered_extensions():
        raise UsageError(f"--out {out}: the suffix names no kind of picture; take .png")
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"--device {arguments.device}: torch sees no CUDA device here; leave it out for the CPU")


def _names(arch: str, width: int) -> Sequence[str]:
    import torchvision

    if arch not in torchvision.models.list_models(module=torchvision.models):
        return ()
    names = next(iter(torchvision.models.get_model_weights(arch))).meta["categories"]
    return names if len(names) == width else ()


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    options: dict[str, Any] = {} if arguments.gamma is None else {"gamma": arguments.gamma}
    for given in arguments.option:
        name, equals, value = given.partition("=")
        if not equals:
            raise UsageError(f"--option {given!r}: expected NAME=VALUE")
        try:
            options[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[name] = value
    try:
        METHODS[arguments.method].with_defaults(options)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return options


def _caption(target: int, names: Sequence[str], logits: Tensor) -> str:
    name = names[target] if target < len(names) else f"class {target}"
    return (
        f"{name}: logit {float(logits[target]):.2f}, rank {int((logits > logits[target]).sum()) + 1} of {len(logits)}"
    )
