"""The class table: stable class indices with their names and colours."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flywheel.errors import DataInvalid
from flywheel.files import read_json, write_json

BACKGROUND = 0
IGNORE = 255
MAX_CLASSES = 254

# Hues a golden-ratio step apart stay distinct for any number of classes (the published palette stops at 11).
_GOLDEN = 0.618033988749895


def class_colour(index: int) -> tuple[int, int, int]:
    """RGB colour of class `index` (1..254), the same in every page and picture; background is black."""
    if index == BACKGROUND:
        return (0, 0, 0)
    hue = (index - 1) * _GOLDEN % 1.0
    saturation, value = (0.85, 1.0) if index % 2 else (0.65, 0.95)
    sector, fraction = divmod(hue * 6, 1.0)
    low, falling, rising = (value * (1 - saturation * part) for part in (1.0, fraction, 1 - fraction))
    red, green, blue = [
        (value, rising, low),
        (falling, value, low),
        (low, value, rising),
        (low, falling, value),
        (rising, low, value),
        (value, low, falling),
    ][int(sector) % 6]
    return round(red * 255), round(green * 255), round(blue * 255)


@dataclass(frozen=True)
class ClassTable:
    """Names of the defect classes; `names[i]` belongs to class index i + 1. Indices never change, names are added."""

    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.names) > MAX_CLASSES:
            raise DataInvalid(
                f"class table has {len(self.names)} classes; an 8-bit index mask holds at most {MAX_CLASSES}"
            )
        folded = [name.casefold() for name in self.names]
        if len(set(folded)) != len(folded):
            raise DataInvalid(f"class table names a class twice: {', '.join(self.names)}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def channels(self) -> int:
        """Number of one-hot channels: background and every defect class."""
        return len(self.names) + 1

    def name(self, index: int) -> str:
        if index == BACKGROUND:
            return "background"
        if not 1 <= index <= len(self.names):
            raise DataInvalid(f"class index {index}, expected 0..{len(self.names)}")
        return self.names[index - 1]

    def index(self, name: str) -> int:
        """Index of the class called `name`, whatever its case. Raises DataInvalid for an unknown name."""
        folded = [known.casefold() for known in self.names]
        if name.casefold() not in folded:
            raise DataInvalid(f"unknown class {name!r}; known classes: {', '.join(self.names) or 'none'}")
        return folded.index(name.casefold()) + 1

    def extended(self, names: list[str]) -> "ClassTable":
        """This table with every new name appended in the order given; known names (any case) stay where they are."""
        known = list(self.names)
        for name in names:
            if name.casefold() not in {other.casefold() for other in known}:
                known.append(name)
        return ClassTable(tuple(known))

    def palette(self) -> np.ndarray:
        """(256, 3) uint8 colours by class index; 255 (ignore) is grey."""
        table = np.zeros((256, 3), np.uint8)
        for index in range(1, len(self.names) + 1):
            table[index] = class_colour(index)
        table[IGNORE] = 128
        return table

    def save(self, path: Path) -> None:
        rows = [
            {"index": index, "name": name, "colour": "#{:02x}{:02x}{:02x}".format(*class_colour(index))}
            for index, name in enumerate(self.names, start=1)
        ]
        write_json(path, {"background": BACKGROUND, "ignore": IGNORE, "classes": rows})

    @classmethod
    def load(cls, path: Path) -> "ClassTable":
        """Read a table; a missing file is an empty table. Raises DataInvalid when the indices are not 1..K."""
        if not path.exists():
            return cls()
        rows = sorted(read_json(path)["classes"], key=lambda row: row["index"])
        if [row["index"] for row in rows] != list(range(1, len(rows) + 1)):
            raise DataInvalid(f"{path}: class indices must be 1..{len(rows)} without gaps; restore the file from git")
        return cls(tuple(row["name"] for row in rows))
