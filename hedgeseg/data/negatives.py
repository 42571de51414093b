"""Which class names mean that there is nothing to find: said by the user, asked about where a name looks like it."""

import re
from collections.abc import Sequence

NONE_OF_THEM = "none-of-them"
"""What `background` is given as on a command line where every name is a class; the same as an empty list."""

_NOTHING = re.compile(
    "good|okay|ok|normals?|negatives?|neg|background|bg|none|nothing|healthy|free|empty|clean|clear|intact|undamaged|"
    "unaffected|controls?|pass|passed|perfect|flawless|fine|absent|absence|nodefects?|nofindings?|uninfected|uncracked|"
    "defectless|no|non|not|without|false|nan|na|gut|gesund|fehlerfrei|leer|io|bueno|sano|buono|bon"
)
_STARTS = (
    "no",
    "non",
    "not",
    "without",
    "negative",
    "normal",
    "healthy",
    "free",
    "good",
    "ok",
    "gut",
    "ohne",
    "kein",
    "keine",
    "sin",
    "sans",
    "senza",
)
_ENDS = ("free", "less", "negative", "normal", "good", "ok", "healthy", "intact", "clean")
_FAULT = (
    "(?:tumou?r|cancer|lesion|disease|illness|infection|pneumonia|fracture|finding|defect|damage|crack|fault|error|"
    "anomal|scratch|rust|corrosion|leak|hole|dent|stain|fire|smoke|object|person|people|mask|weed|pest|faulty|cancerous)"
)
_WITHOUT = re.compile(
    rf"(?:no|non|not|without|kein|keine|ohne){_FAULT}(?:s|es|y|ies|ive|ed|d)?|"
    r"un(?:damaged|affected|infected|cracked|broken|scratched|defective|diseased|spoil[edt]+|blemished|marked|worn)|"
    rf"{_FAULT}(?:s)?(?:free|less)"
)


class BackgroundQuestionError(ValueError):
    """A class name may mean that there is nothing to find; whoever owns the data must say.

    Attributes:
        source: where they are from.
        names: those that are asked about.
    """

    def __init__(self, source: str, names: Sequence[str], option: str = "--data.background") -> None:
        self.source, self.names = source, tuple(names)
        shown, several = " and ".join(repr(name) for name in names), len(names) > 1
        super().__init__(
            f"{source}: {'are' if several else 'is'} {shown} {'classes' if several else 'a class'} to be found in a "
            f"picture, or {'do they mean' if several else 'does it mean'} that there is nothing to find? Say which:\n"
            f"  {option} {as_option(names)}  (background={names[0] if not several else list(names)!r}): "
            "nothing to find; these images show none of the classes\n"
            f"  {option} {NONE_OF_THEM}  (background=[]): a class like the others"
        )

    def answered_by(self, option: str) -> "BackgroundQuestionError":
        """The same question, where another option of a command answers it."""
        return BackgroundQuestionError(self.source, self.names, option)


def as_option(names: Sequence[str]) -> str:
    """Names as `--data.background` takes them, quoted for a shell."""
    if len(names) == 1 and re.fullmatch(r"[A-Za-z][\w.-]*", names[0]) and names[0].lower() not in _YAML_WORDS:
        return names[0]
    listed = ", ".join('"' + name.replace('"', '\\"') + '"' for name in names)
    return f"'[{listed}]'"


_YAML_WORDS = frozenset({"no", "off", "false", "true", "yes", "on", "null", "y", "n"})


def seems_negative(name: str) -> bool:
    """Whether a class name may mean that there is nothing to find.

    Example:
        >>> [seems_negative(name) for name in ("Good", "no_crack", "notumor", "crack", "Normal cells", "nose")]
        [True, True, True, False, True, False]
    """
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    if not words:
        return False
    together = "".join(words)
    return (
        bool(_NOTHING.fullmatch(together) or _WITHOUT.fullmatch(together))
        or words[0] in _STARTS
        or (len(words) > 1 and words[-1] in _ENDS)
    )


def without_background(
    names: Sequence[str], background: str | Sequence[str] | None, source: str
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Divides names into classes, in their order, and names that mean nothing.

    Args:
        names: every name that the data use.
        background: the names that mean nothing; empty or `NONE_OF_THEM`: every name is a class; None: not said.
        source: what errors call the data.

    Raises:
        BackgroundQuestionError: not said, and a name looks as if it meant nothing.
        ValueError: a name that the data do not have, or no class is left.
    """
    if background is None:
        asked = [name for name in names if seems_negative(name)]
        if not asked and sorted(names) == ["0", "1"]:
            asked = ["0"]
        if asked:
            raise BackgroundQuestionError(source, asked)
        return tuple(names), frozenset()
    given = [background] if isinstance(background, str) else list(background)
    if given == [NONE_OF_THEM] and NONE_OF_THEM not in names:
        return tuple(names), frozenset()
    strange = [name for name in given if name not in names]
    if strange:
        raise ValueError(f"{source}: background names {strange[0]!r}, the data have {list(names)}")
    classes = tuple(name for name in names if name not in given)
    if not classes:
        raise ValueError(f"{source}: background takes every name there is, {list(names)}: no class is left")
    return classes, frozenset(given)
