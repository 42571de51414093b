"""`hedgeseg refine`: the masks of a folder cut again from their scores."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hedgeseg.commands.options import number_or_name

if TYPE_CHECKING:
    from hedgeseg.seeds.redo import Alike, Looking

EPILOG = """
examples:
  hedgeseg refine seeds again --images DIR/images --background auto --refine pamr --refine-side 384
  hedgeseg refine seeds better --images DIR/images --refit mobilenet_v2 --weights FILE --refine pamr --refine-side 384
  hedgeseg refine theirs masks --from irn --allow-pickle --images DIR/JPEGImages --refine crf
  hedgeseg refine theirs masks --from clip_es --allow-pickle --images DIR/JPEGImages --spread resnet50

--spread averages the scores over what a network sees alike, which needs the network but no attribution. DEFAULT fetches
torchvision's weights once and needs a network connection; a file needs none. --refit learns from the scores of all
images what the places of a class have in common, as the network sees them, and judges every image again by it; it wants
tens of images of every class.
"""


def add(commands: Any) -> None:
    """Declare the subcommand."""
    from hedgeseg.seeds.background import RULES
    from hedgeseg.seeds.convert import FORMATS
    from hedgeseg.seeds.refine import REFINERS

    formats = [name for name in FORMATS if name != "png"]
    parser = commands.add_parser(
        "refine",
        help="cut the masks of a folder again from their scores",
        description="Levels, spreading and refiners over scores that are on disk, without another attribution.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("seeds", type=Path, help="folder of seeds or scores")
    parser.add_argument("out", type=Path, help="folder to write the new seeds to")
    parser.add_argument("--images", type=Path, help="folder of the photographs, which refiners and --spread look at")
    parser.add_argument(
        "--from", dest="source_format", default="npz", choices=formats, metavar="FORMAT",
        help=f"what there is: {', '.join(formats)} (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--background", default="auto",
        help=f"a level in [0, 1], or {', '.join(sorted(RULES))} (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--refine", nargs="+", default=[], choices=sorted(REFINERS), help="refiners, in their order")
    parser.add_argument(
        "--regions", type=Path, help="folder of regions, such as SAM's, that the scores vote on, after the refiners"
    )
    parser.add_argument(
        "--refine-side", type=int, default=1024, help="longest side a refiner works at (default: %(default)s)"
    )
    parser.add_argument("--spread", metavar="ARCH", help="spread the scores over what this network sees alike")
    parser.add_argument("--refit", metavar="ARCH", help="judge the scores again by what those of all images share")
    parser.add_argument("--affinity", type=Path, help="instead let scores walk as hedgeseg affinity learnt from seeds")
    parser.add_argument("--weights", default="DEFAULT", help="of that network: a file, or torchvision's name")
    parser.add_argument("--size", type=int, default=289, help="shorter side that it looks at (default: %(default)s)")
    parser.add_argument(
        "--allow-pickle", action="store_true", help="open pickles, which can run code: only if you trust the files"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Cut the masks again, say how many, and name what failed; 1 if something did."""
    from hedgeseg.commands.labelled_folder import LabelledFolder
    from hedgeseg.seeds.convert import FORMATS
    from hedgeseg.seeds.formats import identifiers
    from hedgeseg.seeds.redo import redo

    named = identifiers(arguments.seeds, FORMATS[arguments.source_format].suffix)
    folder = None if arguments.images is None else LabelledFolder((), images=arguments.images, named=named)
    report = redo(
        arguments.seeds,
        arguments.out,
        arguments.source_format,
        background=number_or_name(arguments.background),
        refine=[*arguments.refine, *([{"regions": str(arguments.regions)}] if arguments.regions else [])] or None,
        refine_side=arguments.refine_side,
        picture=None if folder is None else folder.photograph,
        alike=_alike(arguments, folder),
        refit=_looking(arguments, folder),
        settings=_settings(arguments),
        allow_pickle=arguments.allow_pickle,
    )
    print(f"{report.done} seeds in {arguments.out}, {len(report.failed)} failed")
    for name, reason in report.failed.items():
        print(f"{name}: {reason}", file=sys.stderr)
    return 1 if report.failed else 0


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Which networks decide the masks."""
    asked = {"spread": arguments.spread, "refit": arguments.refit}
    found: dict[str, Any] = {n: [arch, arguments.weights, arguments.size] for n, arch in asked.items() if arch}
    return found | ({} if arguments.affinity is None else {"affinity": str(arguments.affinity)})


def _alike(arguments: argparse.Namespace, folder: Any) -> Alike | None:
    """What the network sees alike in a photograph."""
    if arguments.spread is None:
        if arguments.affinity is not None:
            raise ValueError("--affinity is of a network: name it with --spread")
        return None
    from hedgeseg.seeds.learned_affinity import read_affinity
    from hedgeseg.seeds.spread import affinity, reduced, stride_maps

    network, image = _looks(arguments, folder, "spread")
    if arguments.affinity is not None:
        head = read_affinity(arguments.affinity)
        return lambda name: head.walk(stride_maps(network, reduced(image(name))[None]))
    return lambda name: affinity(network, image(name))


def _looking(arguments: argparse.Namespace, folder: Any) -> Looking | None:
    """The network that judges the scores again, and what it is shown."""
    return None if arguments.refit is None else _looks(arguments, folder, "refit")


def _looks(arguments: argparse.Namespace, folder: Any, option: str) -> Looking:
    if folder is None:
        raise ValueError(f"--{option} looks at the photographs: say where they are with --images")
    from hedgeseg.commands.explain import load_network, normalised, resized

    network = load_network(getattr(arguments, option), arguments.weights)[0].eval()
    return network, lambda name: normalised(resized(folder.photograph(name), arguments.size))[0]
