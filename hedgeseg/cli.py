"""The console script `hedgeseg`; its commands: `hedgeseg --help`.

Exit codes: 0 done; 1 it failed, or `validate` and `convert` found something wrong; 2 it was called wrongly.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any

from hedgeseg import __version__
from hedgeseg.commands import (
    affinity,
    audit,
    convert,
    describe,
    explain,
    methods,
    pipeline,
    refine,
    report,
    score,
    segment,
    validate,
)
from hedgeseg.commands.errors import UsageError
from hedgeseg.quiet import as_notes, quiet

_COMMANDS = (
    explain, methods, describe, pipeline, segment, audit, score, convert, refine, affinity, validate, report,
)  # fmt: skip
# What the library raises with a message that says what to do; anything else is a bug and keeps its traceback.
_EXPECTED = (OSError, ValueError, TypeError, ImportError, NotImplementedError)


class _CommandParser(argparse.ArgumentParser):
    """Of a subcommand: options of another parser, such as `--data.root DIR`, are handed on with their values.

    Left among the others, such a value would be taken for a positional argument.
    """

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's; what is left over ends with those options."""
        own: list[str] = []
        dotted: list[str] = []
        words = iter(sys.argv[1:] if args is None else args)
        for word in words:
            if re.match(r"--\w+\.", word) is None:
                own.append(word)
                continue
            dotted.append(word)
            if "=" not in word and (value := next(words, None)) is not None:
                dotted.append(value)
        found, rest = super().parse_known_args(own, namespace)
        return found, [*rest, *dotted]


def build_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    parser = argparse.ArgumentParser(
        prog="hedgeseg",
        description="Explain classifiers by signed maps, and look after the segmentation seeds made of them.",
        epilog="`hedgeseg COMMAND --help` shows examples. Training and writing seeds is train.py's, in a checkout.",
    )
    parser.add_argument("--version", action="version", version=f"hedgeseg {__version__}")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_CommandParser)
    for command in _COMMANDS:
        command.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: Arguments without the program's name; those of the process if None.

    Returns:
        The exit code.

    Raises:
        SystemExit: From argparse, with code 2, for arguments it refuses, and with 0 after `--help`.
    """
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    further = getattr(arguments, "further", None)  # what options of another parser begin with
    if rest and (further is None or not rest[0].startswith(f"--{further}.")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.rest = rest
    try:
        with quiet(), as_notes():
            return int(arguments.run(arguments))
    except UsageError as error:
        return _fail(error, 2)
    except _EXPECTED as error:
        if arguments.traceback:
            raise
        return _fail(error, 1)


def _fail(error: Exception, code: int) -> int:
    print(f"hedgeseg: error: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
