"""What classes are called, wherever they are shown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassNames:
    """Names of the classes; an index without a name is called `class 7`."""

    names: tuple[str, ...] = ()

    def __getitem__(self, index: int) -> str:
        return self.names[index] if 0 <= index < len(self.names) else f"class {index}"

    def of_sides(self) -> ClassNames:
        """Names of the two sides of one logit: a single name is that of the positive one."""
        return ClassNames((f"not {self.names[0]}", self.names[0])) if len(self.names) == 1 else self

    def of_mask(self, num_classes: int) -> dict[int, str]:
        """Names by mask id: 0 background, class index + 1, 255 void."""
        return {0: "background", **{c + 1: self[c] for c in range(min(num_classes, 254))}, 255: "void"}
