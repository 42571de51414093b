"""`hedgeseg methods`: what can be asked of `hedgeseg explain --method`."""

from __future__ import annotations

import argparse
import difflib
import inspect
from typing import Any

from hedgeseg.attribution import METHODS, Method
from hedgeseg.commands.errors import UsageError

EPILOG = """
examples:
  hedgeseg methods
  hedgeseg methods hedge
"""


def add(commands: Any) -> None:
    """Declare the subcommand."""
    parser = commands.add_parser(
        "methods",
        help="list the attribution methods, or describe one",
        description="One line per method: name, signed or not, cost per image, and what it is.\n"
        "A method marked [captum] needs that extra.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", help="a method to describe with its options, equations and source")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or one method's description."""
    if arguments.name is None:
        print(table())
    elif arguments.name in METHODS:
        print(description(METHODS[arguments.name]))
    else:
        near = difflib.get_close_matches(arguments.name, METHODS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`hedgeseg methods` lists them"
        raise UsageError(f"there is no method {arguments.name!r}; {hint}")
    return 0


def table() -> str:
    """One line per method."""
    rows = [
        (m.name, "signed" if m.signed else "unsigned", m.cost, f"[{m.extra}] {m.summary}" if m.extra else m.summary)
        for m in METHODS.values()
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join("  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[3]]) for row in rows)


def description(method: Method) -> str:
    """Summary, options and documentation of a method."""
    options = ", ".join(f"{name}={value!r}" for name, value in method.options.items()) or "none"
    lines = [
        method.summary,
        "",
        f"signed: {'yes' if method.signed else 'no'}",
        f"cost: {method.cost}",
        f"options: {options}",
        *([f'needs: pip install "hedgeseg[{method.extra}]"'] if method.extra else []),
        "",
        inspect.getdoc(inspect.getmodule(method.explain)) or "",
        "",
        inspect.getdoc(method.explain) or "",
    ]
    return "\n".join(lines)
