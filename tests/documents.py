"""The fenced blocks of the project's Markdown pages, as the tests run them."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page, language):
    """(line, text) of the page's blocks in a language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [(text[: m.start(2)].count("\n") + 1, m[2]) for m in _FENCE.finditer(text) if m[1] == language]


def commands(page):
    """The commands of the page's `sh` blocks: one line each, without comments and spare spaces."""
    lines = "\n".join(text for _, text in blocks(page, "sh")).replace("\\\n", " ").splitlines()
    split = (shlex.split(line, comments=True) for line in lines)
    return [shlex.join(words).replace("'&&'", "&&") for words in split if words]


def run_python(page, namespace):
    """Run the page's Python blocks, one after the other in one namespace; errors name the page and the line."""
    for line, text in blocks(page, "python"):
        code = compile("\n" * (line - 1) + text, str(ROOT / page), "exec")
        exec(code, namespace)
    return namespace
