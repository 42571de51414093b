"""HTML pages that need nothing beside them: tables that a click sorts, pictures inside the file, text escaped.

Every report of the house is made of these pieces. They return strings; whoever has them all writes the file.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from hedgeseg.visual import Picture

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:78rem;padding:0 1rem;color:#222;background:#fff}
h1{margin-bottom:.2rem}h2{margin-top:2.2rem}img{max-width:100%;display:block}
table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child{text-align:left}.quiet{color:#666}
"""

SORTED = """
table.sorted th{cursor:pointer;background:#f3f3f3;position:sticky;top:0;white-space:nowrap}
table.sorted td.text{text-align:left}table.sorted td.told{min-width:15rem;text-align:left}
table.sorted th[data-up="1"]::after{content:" \\2191"}table.sorted th[data-up="0"]::after{content:" \\2193"}
"""

SORTING = """
document.querySelectorAll('table.sorted').forEach(t=>t.querySelectorAll('th').forEach((h,i)=>h.onclick=()=>{
const up=h.dataset.up==='0';t.querySelectorAll('th').forEach(o=>delete o.dataset.up);h.dataset.up=up?'1':'0';
const k=r=>{const c=r.cells[i],s=(c.dataset.k??c.textContent).trim();return s==='-'?'':s};
const n=s=>Number(s.replace('%','')),by=(a,b)=>{const x=k(a),y=k(b);if(!x||!y)return (x?0:1)-(y?0:1);
const p=n(x),q=n(y),d=isNaN(p)||isNaN(q)?x.localeCompare(y,undefined,{numeric:true}):p-q;return up?d:-d};
[...t.tBodies[0].rows].sort(by).forEach(r=>t.tBodies[0].append(r))}));
"""


@dataclass(frozen=True)
class Cell:
    """A cell that is more than text.

    Attributes:
        content: HTML, with what is text in it escaped.
        key: what the cell is sorted by.
        words: whether it holds sentences, which need room.
    """

    content: str
    key: str
    words: bool = False


def page(title: str, parts: Sequence[str], style: str = "") -> str:
    """A whole page.

    Args:
        title: text of its heading.
        parts: HTML, one below the other.
        style: CSS beside that of all pages.
    """
    name = html.escape(title)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title>'
        f"<style>{STYLE}{SORTED}{style}</style><h1>{name}</h1>"
        + "\n".join(parts)
        + f"<script>{SORTING}</script></html>\n"
    )


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str | Cell]],
    hints: Sequence[str] = (),
    by_click: bool = False,
) -> str:
    """A table.

    Args:
        header: text of the headings.
        rows: of cells, each text or a `Cell`.
        hints: what a heading means, shown when the mouse rests on it; none or one each.
        by_click: a click on a heading sorts by its column, the largest first, the next click the smallest first; empty
            cells stay last.
    """
    told = [*hints, *[""] * (len(header) - len(hints))]
    head = "".join(
        f'<th title="{html.escape(hint)}">{html.escape(name)}</th>' if hint else f"<th>{html.escape(name)}</th>"
        for name, hint in zip(header, told, strict=True)
    )
    body = "".join("<tr>" + "".join(_cell(cell, by_click) for cell in row) + "</tr>" for row in rows)
    kind = ' class="sorted"' if by_click else ""
    return f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def picture(drawn: Picture, kind: str = "JPEG", alt: str = "", css: str = "") -> str:
    """A picture inside the page.

    Args:
        drawn: uint8 (H, W, 3).
        kind: "JPEG" for photographs, "PNG" for drawings.
        alt: what it shows, in words.
        css: name of its class in the page's style.
    """
    stream = io.BytesIO()
    Image.fromarray(drawn).save(stream, format=kind, **({"quality": 88} if kind == "JPEG" else {}))
    return embedded(stream.getvalue(), kind, alt, css)


def embedded(file: bytes, kind: str = "JPEG", alt: str = "", css: str = "") -> str:
    """The content of a picture's file inside the page, with its words also where the mouse rests."""
    told = html.escape(alt)
    named = f' title="{told}"' if alt else ""
    styled = f' class="{html.escape(css)}"' if css else ""
    source = base64.b64encode(file).decode()
    return f'<img{styled} alt="{told}"{named} loading="lazy" src="data:image/{kind.lower()};base64,{source}">'


def number(value: float | None, digits: int = 3, missing: str = "-") -> str:
    """A number, or a dash where there is none."""
    return missing if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _cell(cell: str | Cell, by_click: bool) -> str:
    if isinstance(cell, Cell):
        return f'<td class="{"told" if cell.words else "text"}" data-k="{html.escape(cell.key)}">{cell.content}</td>'
    return (
        f"<td>{html.escape(cell)}</td>"
        if _is_number(cell) or not by_click
        else f'<td class="text">{html.escape(cell)}</td>'
    )


def _is_number(text: str) -> bool:
    return not text or text == "-" or text.strip("-%").replace(".", "", 1).isdecimal()
