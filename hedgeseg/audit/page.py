"""The findings of an audit as one HTML page that needs nothing beside it."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hedgeseg.audit.findings import Cluster, Findings
from hedgeseg.audit.result import name_of
from hedgeseg.seeds.formats.files import replacing
from hedgeseg.visual import Picture, seismic

PICTURED = 200
"""Images that are shown; further ones are in audit.json alone."""

EXAMPLES, EXAMPLES_FLAGGED = 4, 12

COLUMNS = {
    "probability": ("p", "probability of the class"),
    "pointing": ("on object", "whether the strongest pixel is on the object"),
    "outside_inside": ("out/in", "mean relevance off the object over that on it"),
    "border": ("border", "share of positive relevance on the outer tenth of each side"),
    "corners": ("corners", "share in the four corners, a quarter of each side"),
    "centre": ("centre", "share in the central half of each side"),
    "entropy": ("entropy", "1: spread evenly, 0: on one spot"),
    "positive_ratio": ("positive", "share of pixels with positive relevance"),
    "mirror": ("mirror", "rank correlation with the map of the mirrored image"),
    "removal_drop": ("drop", "fall of the probability when the strongest evidence is painted over"),
    "control_drop": ("control", "the same for a region of equal shape where there is least evidence"),
}

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1c1c1c;background:#fff}
h1{margin-bottom:.2rem}h2{margin-top:2.2rem;border-bottom:1px solid #ddd}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.25rem .6rem;text-align:right}
th{cursor:pointer;background:#f3f3f3;position:sticky;top:0;white-space:nowrap}th:first-child,td.text{text-align:left}
tr:nth-child(even){background:#fafafa}td img{display:block;max-height:112px}
.card{border:1px solid #ddd;border-radius:6px;padding:.8rem 1rem;margin:1rem 0}.flagged{border-left:6px solid #c62828}
.examples{display:flex;flex-wrap:wrap;gap:6px}.examples img{height:84px}.map{height:84px;border:1px solid #ccc}
ul{margin:.3rem 0 .6rem 1.1rem;padding:0}.quiet{color:#666}.good{color:#1b5e20}.bad{color:#b71c1c}
"""

SORTING = """
document.querySelectorAll('table').forEach(t=>t.querySelectorAll('th').forEach((h,i)=>h.onclick=()=>{
const d=h.dataset.up=h.dataset.up==='1'?'':'1',v=r=>{const c=r.cells[i],k=c.dataset.k??c.textContent,n=parseFloat(k);
return isNaN(n)?(k===''?-Infinity:k):n};[...t.rows].slice(1).sort((a,b)=>{const x=v(a),y=v(b);
return (x>y?1:x<y?-1:0)*(d?1:-1)}).forEach(r=>t.tBodies[0].append(r))}));
"""


def write_page(
    path: Path,
    findings: Findings,
    classes: Sequence[str],
    title: str = "Audit",
    changed: Sequence[Mapping[str, Any]] = (),
    seeds: str | None = None,
) -> Path:
    """Write the page whole or not at all.

    Args:
        path: of the HTML file.
        findings: of an audit.
        classes: names by index.
        title: heading.
        changed: what `changes` returned, to show what moved between two networks.
        seeds: address of a report of the same data's seeds to link.
    """
    flagged = [cluster for cluster in findings.clusters if cluster.flagged]
    parts = [_verdict(findings, flagged, seeds)]
    if flagged:
        parts.append("<h2>Clusters that stand out</h2>")
        parts += [_card(cluster, findings, classes, EXAMPLES_FLAGGED) for cluster in flagged]
    parts += [_classes(findings, classes), _images(findings, classes)]
    if changed:
        parts.append(_changed(findings, classes, changed))
    quiet = [cluster for cluster in findings.clusters if not cluster.flagged]
    parts.append("<h2>All other clusters</h2>")
    parts += [_card(cluster, findings, classes, EXAMPLES) for cluster in quiet]
    name = html.escape(title)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title><style>{STYLE}</style>'
        f"<h1>{name}</h1>" + "\n".join(parts) + f"<script>{SORTING}</script></html>\n"
    )
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
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
    overall = ", ".join(
        f"{label} {_number(findings.overall[name])}" for name, (label, _) in COLUMNS.items() if name in findings.overall
    )
    link = f'<p><a href="{html.escape(seeds)}">Report of the seeds</a></p>' if seeds else ""
    return (
        f"<p>{images} images, {len(findings.evidence)} explanations. {told} {odd} explanations have a reason to be "
        f'looked at.</p><p class="quiet">Means: {overall}.</p>{link}'
    )


def _card(cluster: Cluster, findings: Findings, classes: Sequence[str], examples: int) -> str:
    chosen = _spread(cluster.members, examples)
    pictures = "".join(_thumbnail(findings.evidence[i].thumbnail, findings.evidence[i].id) for i in chosen)
    splits = ", ".join(f"{count} in {split}" for split, count in sorted(cluster.splits.items()))
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in cluster.reasons)
    name = html.escape(name_of(cluster.class_index, classes))
    drawn = f'<img class="map" alt="mean map" title="mean map" src="{_drawn(cluster.mean_map)}">'
    return (
        f'<div class="card{" flagged" if cluster.flagged else ""}"><b>{name}'
        f", cluster {cluster.number}</b>: {len(cluster.members)} images ({html.escape(splits)}), "
        f"{_percent(cluster.accuracy)} recognised. {_test(cluster)}"
        f"{f'<ul>{reasons}</ul>' if reasons else ''}"
        f'<div class="examples">{drawn}{pictures}</div></div>'
    )


def _test(cluster: Cluster) -> str:
    if not math.isfinite(cluster.removal_drop):
        return ""
    return (
        f"Without its evidence the probability falls by <b>{cluster.removal_drop:.2f}</b> "
        f"(by {cluster.control_drop:.2f} without a like region elsewhere)."
    )


def _classes(findings: Findings, classes: Sequence[str]) -> str:
    names = [name for name in COLUMNS if name in findings.overall]
    header = ["class", "images", "recognised", *(COLUMNS[name][0] for name in names)]
    rows = [
        [name_of(index, classes), f"{numbers['images']:.0f}", _percent(numbers["accuracy"])]
        + [_number(numbers.get(name, math.nan)) for name in names]
        for index, numbers in findings.per_class.items()
    ]
    hints = [*("", "", "share of them that the network sees"), *(COLUMNS[name][1] for name in names)]
    return "<h2>Classes</h2>" + _table(header, hints, [[(html.escape(cell), cell) for cell in row] for row in rows])


def _images(findings: Findings, classes: Sequence[str]) -> str:
    names = [name for name in COLUMNS if name == "probability" or name in findings.overall]
    header = ["picture and evidence", "class", "why", *(COLUMNS[name][0] for name in names), "cluster", "id"]
    hints = ["", "", "", *(COLUMNS[name][1] for name in names), "", ""]
    rows = []
    for i in findings.order[:PICTURED]:
        entry = findings.evidence[i]
        numbers = {**entry.numbers, "probability": entry.probability}
        values = [_number(numbers.get(name, math.nan)) for name in names]
        named = name_of(entry.class_index, classes)
        why = "<br>".join(html.escape(reason) for reason in findings.reasons[i])
        rows.append(
            [
                (_thumbnail(entry.thumbnail, entry.id), entry.id),
                (html.escape(named), named),
                (why, str(len(findings.reasons[i]))),
                *((value, value) for value in values),
                (str(findings.cluster_of[i]), str(findings.cluster_of[i])),
                (html.escape(f"{entry.split}/{entry.id}"), entry.id),
            ]
        )
    left = len(findings.order) - len(rows)
    note = f'<p class="quiet">{left} further explanations are in audit.json.</p>' if left > 0 else ""
    return (
        "<h2>Images, most suspicious first</h2><p>A click on a heading sorts.</p>" + _table(header, hints, rows) + note
    )


def _changed(findings: Findings, classes: Sequence[str], changed: Sequence[Mapping[str, Any]]) -> str:
    pictures = {entry.key: entry.thumbnail for entry in findings.evidence}
    header = ["picture and evidence", "class", "moved", "p", "p before", "id"]
    rows = []
    for row in changed[:PICTURED]:
        named = name_of(row["class_index"], classes)
        picture = pictures.get((row["split"], row["id"], row["class_index"]), b"")
        numbers = [_number(row[name]) for name in ("moved", "probability", "probability_before")]
        rows.append(
            [
                (_thumbnail(picture, row["id"]), row["id"]),
                (html.escape(named), named),
                *((number, number) for number in numbers),
                (html.escape(f"{row['split']}/{row['id']}"), row["id"]),
            ]
        )
    return "<h2>What moved between the two networks</h2>" + _table(header, [""] * len(header), rows)


def _table(header: Sequence[str], hints: Sequence[str], rows: Sequence[Sequence[tuple[str, str]]]) -> str:
    """A table that a click on a heading sorts; cells are (HTML, what to sort by)."""
    head = "".join(
        f'<th title="{html.escape(hint)}">{html.escape(h)}</th>' for h, hint in zip(header, hints, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f'<td data-k="{html.escape(key)}"{_text(key)}>{cell}</td>' for cell, key in row) + "</tr>"
        for row in rows
    )
    return f"<table><tbody><tr>{head}</tr>{body}</tbody></table>"


def _text(key: str) -> str:
    return "" if key.strip("-.%").replace(".", "").isdecimal() or not key else ' class="text"'


def _spread(members: Sequence[int], count: int) -> list[int]:
    """Some of the members, evenly spread over all."""
    at = np.linspace(0, len(members) - 1, min(count, len(members))).round().astype(int)
    return [members[i] for i in at]


def _thumbnail(jpeg: bytes, name: str) -> str:
    if not jpeg:
        return html.escape(name)
    source = base64.b64encode(jpeg).decode()
    told = html.escape(name)
    return f'<img alt="{told}" title="{told}" loading="lazy" src="data:image/jpeg;base64,{source}">'


def _drawn(relevance: np.ndarray) -> str:
    drawn: Picture = seismic(relevance, percentile=100)
    stream = io.BytesIO()
    Image.fromarray(drawn).resize((drawn.shape[1] * 6, drawn.shape[0] * 6), Image.Resampling.NEAREST).save(
        stream, "PNG"
    )
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _percent(value: float) -> str:
    return f"{value:.1%}" if math.isfinite(value) else ""


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else ""
