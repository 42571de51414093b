"""`hedgeseg affinity`: which places belong together, learnt from seeds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hedgeseg.seeds.learned_affinity import BETA, STEPS

EPILOG = """
examples:
  hedgeseg affinity seeds --images DIR/images --model mobilenet_v2 --weights FILE --size 289 --out affinity.pt

A SeedWriter with `spread: {affinity: affinity.pt}` then lets scores walk between places that belong together, and
`hedgeseg refine SEEDS OUT --spread ARCH --affinity affinity.pt` does so with scores that are there. The head is of one
network: take the same --model, --weights and --size as for the seeds. No mask is looked at but the seeds' own.
"""


def add(commands: Any) -> None:
    """Declare the subcommand."""
    parser = commands.add_parser(
        "affinity",
        help="learn from seeds which places belong together",
        description="A small head on a frozen classifier's features, learnt from places that seeds are sure of.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("seeds", type=Path, help="a folder that hedgeseg wrote seeds to")
    parser.add_argument("--images", type=Path, required=True, help="folder of the photographs")
    parser.add_argument("--model", required=True, help="torchvision architecture, such as resnet50, or timm/<name>")
    parser.add_argument("--weights", default="DEFAULT", help="a file, or torchvision's name (default: %(default)s)")
    parser.add_argument("--size", type=int, default=289, help="shorter side that it looks at (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    parser.add_argument("--epochs", type=int, default=5, help="looks at every image (default: %(default)s)")
    parser.add_argument("--beta", type=float, default=BETA, help="power of the affinities (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the walk (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order (default: %(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Learn, write the file, and say where."""
    from hedgeseg.commands.explain import load_network, normalised, resized
    from hedgeseg.commands.labelled_folder import LabelledFolder
    from hedgeseg.commands.seed_folder import seed_ids
    from hedgeseg.seeds.formats import has_seed, read_seed
    from hedgeseg.seeds.learned_affinity import Learning, learn_affinity

    names = [name for name in seed_ids(arguments.seeds) if has_seed(arguments.seeds, name)]
    folder = LabelledFolder((), images=arguments.images, named=names)
    network = load_network(arguments.model, arguments.weights)[0].eval()
    head = learn_affinity(
        network,
        names,
        lambda name: normalised(resized(folder.photograph(name), arguments.size))[0],
        lambda name: read_seed(arguments.seeds, name),
        Learning(arguments.epochs, seed=arguments.seed, beta=arguments.beta, steps=arguments.steps),
    )
    head.save(arguments.out)
    print(f"{arguments.out}: learnt from {len(names)} seeds; use it as spread: {{affinity: {arguments.out}}}")
    return 0
