"""The findings of an audit as one HTML page that needs nothing beside it."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hedgeseg.audit.evidence import Evidence
from hedgeseg.audit.findings import Findings
from hedgeseg.audit.groups import Cluster
from hedgeseg.class_names import ClassNames
from hedgeseg.page import Cell, embedded, number, page, picture, table
from hedgeseg.seeds.formats.files import replacing
from hedgeseg.visual import seismic

PICTURED = 500
"""Explanations that are shown; further ones are in audit.json alone."""

EXAMPLES, EXAMPLES_FLAGGED = 5, 12

MAP_SCALE = 6
"""Side in pixels that a cell of a mean map is drawn with."""

COLUMNS = {
    "probability": ("p", "probability of the class"),
    "pointing": ("on object", "1 where the strongest pixel is on the object, else 0"),
    "outside_inside": ("out/in", "mean relevance off the object over that on it"),
    "border": ("border", "share of positive relevance on the outer tenth of each side"),
    "corners": ("corners", "share of it in the four corners, a quarter of each side"),
    "centre": ("centre", "share of it in the central half of each side"),
    "entropy": ("entropy", "1: spread evenly, 0: on one spot"),
    "positive_ratio": ("positive", "share of pixels with positive relevance"),
    "mirror": ("mirror", "rank correlation with the map of the mirrored image"),
    "removal_drop": ("drop", "fall of the probability when the strongest evidence is painted over"),
    "control_drop": ("control", "the same for a region of equal shape where there is least evidence"),
}

STYLE = """
td img{max-height:112px;max-width:none}table.sorted td{vertical-align:top}
body{max-width:92rem}
.card{border:1px solid #ddd;border-radius:6px;padding:.8rem 1rem;margin:1rem 0}.flagged{border-left:6px solid #c62828}
.examples{display:flex;flex-wrap:wrap;gap:6px}.examples img{height:84px}.map{border:1px solid #ccc}
ul{margin:.3rem 0 .6rem 1.1rem;padding:0}.good{color:#1b5e20}.bad{color:#b71c1c}summary{cursor:pointer}
"""

READING = (
    "Each picture stands beside its evidence: red speaks for the class, blue against it. A cluster is a group of "
    "pictures of one class that are recognised by the same thing; most classes have one. A click on a heading of a "
    "table sorts by it."
)


def write_page(
    path: Path,
    findings: Findings,
    classes: Sequence[str],
    title: str = "Audit",
    changed: Sequence[Mapping[str, Any]] = (),
    seeds: str | None = None,
    before: Sequence[Evidence] = (),
) -> Path:
    """Write the page whole or not at all.

    Args:
        path: of the HTML file.
        findings: of an audit.
        classes: names by index.
        title: heading.
        changed: what `changes` returned, to show what moved between two networks.
        seeds: address of a report of the same data's seeds to link.
        before: the other network's evidence, to show its pictures beside those that moved.
    """
    names = ClassNames(tuple(classes))
    flagged = [cluster for cluster in findings.clusters if cluster.flagged]
    parts = [_verdict(findings, flagged, seeds)]
    if flagged:
        parts.append("<h2>Clusters that stand out</h2>")
        parts += [_card(cluster, findings, names, EXAMPLES_FLAGGED) for cluster in flagged]
    if changed:
        parts.append(_changed(findings, names, changed, before))
    parts += [_classes(findings, names), _images(findings, names)]
    quiet = [cluster for cluster in findings.clusters if not cluster.flagged]
    if quiet:
        parts.append("<h2>All other clusters</h2>")
        parts += [_card(cluster, findings, names, EXAMPLES) for cluster in quiet]
    with replacing(path) as temporary:
        temporary.write_text(page(title, parts, STYLE), encoding="utf-8")
    return path


def _verdict(findings: Findings, flagged: Sequence[Cluster], seeds: str | None) -> str:
    images = len({(entry.split, entry.id) for entry in findings.evidence})
    told = (
        f'<b class="bad">{len(flagged)} {"cluster stands" if len(flagged) == 1 else "clusters stand"} out.</b> '
        "Look at the pictures: is what they share a property of the class, or of how its pictures were made?"
        if flagged
        else '<b class="good">No cluster stands out.</b>'
    )
    odd = sum(bool(reasons) for reasons in findings.reasons)
    link = f'<p><a href="{html.escape(seeds)}">Report of the seeds</a></p>' if seeds else ""
    return (
        f"<p>{images} images, {len(findings.evidence)} explanations (one per image and class). {told} {odd} "
        f'explanations have a reason to be looked at.</p><p class="quiet">{READING}</p>{link}'
    )


def _card(cluster: Cluster, findings: Findings, names: ClassNames, examples: int) -> str:
    chosen = _spread(cluster.members, examples)
    pictures = "".join(_thumbnail(findings.evidence[i]) for i in chosen)
    splits = ", ".join(f"{count} in {split}" for split, count in sorted(cluster.splits.items()))
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in cluster.reasons)
    cells = seismic(cluster.mean_map, percentile=100).repeat(MAP_SCALE, 0).repeat(MAP_SCALE, 1)
    return (
        f'<div class="card{" flagged" if cluster.flagged else ""}"><b>{html.escape(names[cluster.class_index])}'
        f", cluster {cluster.number}</b>: {len(cluster.members)} images ({html.escape(splits)}), "
        f"{_percent(cluster.accuracy)} recognised. {_test(cluster)}"
        f"{f'<ul>{reasons}</ul>' if reasons else ''}"
        f'<div class="examples">{picture(cells, "PNG", "mean map", "map")}{pictures}</div></div>'
    )


def _test(cluster: Cluster) -> str:
    if not math.isfinite(cluster.removal_drop):
        return ""
    what = "what they share" if cluster.flagged else "its strongest evidence"
    return (
        f"With {what} painted over, the probability of the class falls by <b>{cluster.removal_drop:.2f}"
        f"</b>; with a region of the same shape painted over elsewhere, by {cluster.control_drop:.2f}."
    )


def _classes(findings: Findings, names: ClassNames) -> str:
    measured = [name for name in COLUMNS if name in findings.overall]
    header = ["class", "images", "recognised", *(COLUMNS[name][0] for name in measured)]
    hints = ["", "", "share of them that the network sees", *(COLUMNS[name][1] for name in measured)]
    groups = [*((names[i], numbers) for i, numbers in findings.per_class.items()), ("all", findings.overall)]
    rows = [
        [called, f"{numbers['images']:.0f}", _percent(numbers["accuracy"])]
        + [number(numbers.get(name), 2, "") for name in measured]
        for called, numbers in groups
    ]
    meanings = "".join(f"<li><b>{label}</b>: {html.escape(hint)}</li>" for label, hint in _shown(measured))
    return (
        "<h2>Classes</h2>"
        + table(header, rows, hints, by_click=True)
        + f"<details><summary>What the columns mean</summary><ul>{meanings}</ul></details>"
    )


def _shown(measured: Sequence[str]) -> list[tuple[str, str]]:
    return [COLUMNS[name] for name in COLUMNS if name in measured]


def _images(findings: Findings, names: ClassNames) -> str:
    measured = [name for name in COLUMNS if name == "probability" or name in findings.overall]
    header = ["picture and evidence", "class", "why", *(COLUMNS[name][0] for name in measured), "cluster", "id"]
    hints = ["", "", "why it should be looked at", *(COLUMNS[name][1] for name in measured), "within its class", ""]
    rows: list[list[str | Cell]] = []
    for i in findings.order[:PICTURED]:
        entry = findings.evidence[i]
        numbers = {**entry.numbers, "probability": entry.probability}
        why = "<br>".join(html.escape(reason) for reason in findings.reasons[i])
        rows.append(
            [
                Cell(_thumbnail(entry), entry.id),
                names[entry.class_index],
                Cell(why, str(len(findings.reasons[i])), words=True),
                *(number(numbers.get(name), 2, "") for name in measured),
                str(findings.cluster_of[i]),
                Cell(html.escape(f"{entry.split}/{entry.id}"), f"{entry.split}/{entry.id}"),
            ]
        )
    left = len(findings.order) - len(rows)
    note = f'<p class="quiet">{left} further explanations are in audit.json.</p>' if left > 0 else ""
    return "<h2>Images, most suspicious first</h2>" + table(header, rows, hints, by_click=True) + note


def _changed(
    findings: Findings, names: ClassNames, changed: Sequence[Mapping[str, Any]], before: Sequence[Evidence]
) -> str:
    now = {entry.key: entry for entry in findings.evidence}
    then = {entry.key: entry for entry in before}
    header = ["now", *(["before"] if then else []), "class", "moved", "p", "p before", "id"]
    meaning = "1 - correlation of the two maps: 0 the same, 1 unrelated, 2 opposite"
    hints = [meaning if name == "moved" else "" for name in header]
    rows: list[list[str | Cell]] = []
    for row in changed[:PICTURED]:
        key = (row["split"], row["id"], row["class_index"])
        pictures = [Cell(_thumbnail(side[key]), row["id"]) for side in (now, then) if key in side]
        rows.append(
            [
                *pictures,
                names[row["class_index"]],
                *(number(row[name], 2) for name in ("moved", "probability", "probability_before")),
                Cell(html.escape(f"{row['split']}/{row['id']}"), f"{row['split']}/{row['id']}"),
            ]
        )
    left = len(changed) - len(rows)
    note = f'<p class="quiet">{left} further ones are in audit.json.</p>' if left > 0 else ""
    said = f'<p class="quiet">The most changed first; moved: {meaning}.</p>'
    return f"<h2>What moved between the two networks</h2>{said}" + table(header, rows, hints, by_click=True) + note


def _spread(members: Sequence[int], count: int) -> list[int]:
    """Some of the members, evenly spread over all."""
    at = np.linspace(0, len(members) - 1, min(count, len(members))).round().astype(int)
    return [members[i] for i in at]


def _thumbnail(entry: Evidence) -> str:
    return embedded(entry.thumbnail, alt=entry.id) if entry.thumbnail else html.escape(entry.id)


def _percent(value: float) -> str:
    return f"{value:.1%}" if math.isfinite(value) else ""
