"""Logits of coarse classes from a network that knows finer ones: log-sum-exp over the fine classes of each."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

NEVER = -1e4
"""Logit of a class without any fine class: never predicted, yet finite, in half precision too, and so are losses."""


class GroupedLogits(nn.Module):
    """Wraps a network so that it speaks of groups of its classes.

    The softmax probability of a group is the sum of its members' probabilities, so its logit is the log-sum-exp of
    theirs.

    Args:
        network: gives logits (N, K).
        groups: for each group the indices of its fine classes; a group without any gets the logit `NEVER`.

    Raises:
        ValueError: no groups, or a negative index.
    """

    def __init__(self, network: nn.Module, groups: Sequence[Sequence[int]]) -> None:
        super().__init__()
        if not groups or any(index < 0 for group in groups for index in group):
            raise ValueError(f"groups must be lists of class indices >= 0, got {groups!r}")
        self.network = network
        self.groups = tuple(tuple(group) for group in groups)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, number of groups) of images (N, 3, H, W)."""
        fine = self.network(images)
        columns = [
            torch.logsumexp(fine[:, list(group)], dim=1) if group else fine.new_full(fine.shape[:1], NEVER)
            for group in self.groups
        ]
        return torch.stack(columns, dim=1)

    def extra_repr(self) -> str:
        """The groups: two networks that differ in them are not alike."""
        return f"groups={[list(group) for group in self.groups]}"


def read_groups(path: str | Path, classes: Sequence[str]) -> list[list[int]]:
    """Reads a JSON object `{class name: [fine indices]}` in the order of `classes`; it may lack some of them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no such object, or names classes that are not in `classes`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"groups file {path} not found: expected JSON like {{'cat': [281, 282]}}")
    try:
        groups = {
            str(name): [int(index) for index in indices] for name, indices in json.loads(path.read_text()).items()
        }
    except (json.JSONDecodeError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a JSON object of index lists: {error}") from error
    strange = sorted(set(groups) - set(classes))
    if strange:
        raise ValueError(f"{path} names {strange}, which are not among the classes {list(classes)}")
    return [groups.get(name, []) for name in classes]
