"""Which chain from maps to masks is best on all networks: the tables of `seed_chains.py`, averaged.

    uv run benchmarks/chains_of_networks.py --out runs/chains

A user has one network and no masks to choose a chain on, so a chain is worth what it reaches on every network. Mean IoU
is that of the networks' mean; the bootstrap draws photographs, together for all networks and chains.

Two tables. Every chain, paired with the best of all rows of `--against`: that flatters the rival, and the first rows
too, which are the best of many. And every map with its refiner chosen on one half of the photographs and reported on
the other, the rival's as well: what choosing by such a table is worth on photographs that it has not seen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from hedgeseg.evaluation.seed_quality import compare_miou, mean_iou, miou_interval

Chain = tuple[str, str]


def together(networks: list[dict[Chain, Tensor]]) -> dict[Chain, Tensor]:
    """Hits, predicted and true pixels (N, networks (C + 1), 3) of the chains that every network has.

    Classes of another network are other classes: their mean IoU is then the mean of the networks'.
    """
    shared = [chain for chain in networks[0] if all(chain in found for found in networks)]
    return {chain: torch.cat([found[chain] for found in networks], dim=1) for chain in shared}


def chosen(chains: dict[Chain, Tensor], maps: set[str]) -> tuple[list[Chain], Tensor]:
    """The best chains of these maps on either half, and the parts of each half with the other's choice."""
    halves = [max((c for c in chains if c[0] in maps), key=lambda c: mean_iou(chains[c][half::2])) for half in (1, 0)]
    parts = torch.empty_like(chains[halves[0]])
    for half, chain in enumerate(halves):
        parts[half::2] = chains[chain][half::2]
    return halves, parts


def table_of_choices(networks: dict[str, dict[Chain, Tensor]], against: str) -> str:
    """A row per map, and one for the best of all maps, as markdown."""
    chains = together(list(networks.values()))
    names = list(dict.fromkeys(name for name, _ in chains))
    _, rival = chosen(chains, {against})
    lines = [
        f"Refiners (and in the last row the map) chosen on the other half; against {against}\n",
        "| map | refiners chosen | mean (95 %) | difference (95 %) | p |",
        "|---|---|--:|--:|--:|",
    ]
    for label, maps in [*((name, {name}) for name in names), ("any", set(names))]:
        halves, parts = chosen(chains, maps)
        mean, difference = cells(parts, rival)
        taken = "; ".join(step or "none" if len(maps) == 1 else f"{name}, {step or 'none'}" for name, step in halves)
        lines.append(f"| {label} | {taken} | {mean} | {difference} |")
    return "\n".join(lines) + "\n"


def table(networks: dict[str, dict[Chain, Tensor]], against: str) -> str:
    """Rows by mean IoU, the best first, as markdown."""
    chains = together(list(networks.values()))
    ranked = sorted(chains, key=lambda chain: mean_iou(chains[chain]), reverse=True)
    rival = next(chain for chain in ranked if chain[0] == against)
    lines = [
        f"{' and '.join(networks)}, {len(chains[rival])} photographs; against {', '.join(filter(None, rival))}\n",
        f"| map | refine | mean (95 %) | {' | '.join(networks)} | difference (95 %) | p |",
        "|---|---|--:|" + "--:|" * len(networks) + "--:|--:|",
    ]
    for chain in ranked:
        mean, difference = cells(chains[chain], chains[rival])
        each = " | ".join(f"{mean_iou(found[chain]):.3f}" for found in networks.values())
        lines.append(f"| {chain[0]} | {chain[1]} | {mean} | {each} | {difference} |")
    return "\n".join(lines) + "\n"


def cells(parts: Tensor, rival: Tensor) -> tuple[str, str]:
    """Cells of a row: the mean with its interval, and the paired difference to the rival with its p-value."""
    low, high = miou_interval(parts)
    d = compare_miou(parts, rival)
    difference = f"{d.difference:+.3f} ({d.low:+.3f} to {d.high:+.3f}) | {d.p_value:.3f}"
    return f"{mean_iou(parts):.3f} ({low:.3f}-{high:.3f})", difference


def main() -> None:
    """Read what the networks left behind, write `networks.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/chains"), help="where seed_chains.py has written")
    parser.add_argument("--against", default="grad_cam", help="the map whose best row the others are compared with")
    a = parser.parse_args()
    networks = {path.stem: torch.load(path) for path in sorted(a.out.glob("*.pt"))}
    if not networks:
        parser.error(f"{a.out} holds no tables; run benchmarks/seed_chains.py --out {a.out} for each network first")
    text = table(networks, a.against) + "\n" + table_of_choices(networks, a.against)
    (a.out / "networks.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
