"""The order of ImageNet's 1000 classes by WordNet id, which torchvision, that knows only their names, does not tell."""

import re
from pathlib import Path

COUNT = 1000
_WNID = re.compile(r"n\d{8}")


def imagenet_wnids(path: str | Path | None = None) -> tuple[str, ...]:
    """WordNet ids in the order of ImageNet's class indices.

    Args:
        path: text file with an id at the start of each line, in that order: `LOC_synset_mapping.txt` of the challenge
            is one. None takes the list that comes with timm. Nothing is downloaded.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: no file is given and timm is not installed.
        ValueError: the file does not hold 1000 different ids.
    """
    if path is None:
        try:
            from timm.data import ImageNetInfo
        except ImportError as error:
            raise ImportError(
                "the order of ImageNet's WordNet ids comes from a file (wnids: one id per line, such as "
                "LOC_synset_mapping.txt) or from timm: pip install 'hedgeseg[timm]'"
            ) from error
        return tuple(ImageNetInfo("imagenet-1k").label_names())
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found: expected a text file with one WordNet id per line")
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    wrong = next((number for number, line in enumerate(lines, start=1) if not _WNID.fullmatch(line[0])), None)
    if wrong is not None:
        raise ValueError(f"{path}, entry {wrong}: {lines[wrong - 1][0]!r} is no WordNet id such as n01440764")
    wnids = tuple(line[0] for line in lines)
    if len(set(wnids)) != COUNT or len(wnids) != COUNT:
        raise ValueError(f"{path} holds {len(wnids)} ids, {len(set(wnids))} different ones; ImageNet has {COUNT}")
    return wnids
