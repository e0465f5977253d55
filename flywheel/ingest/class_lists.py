"""Class lists of data sets: classes.json and the defect dictionaries in Defect Spectrum's DS-*.md."""

import ast
import re
from collections.abc import Iterable

from flywheel.data.classes import IGNORE, MAX_CLASSES
from flywheel.errors import IngestError
from flywheel.ingest.json_files import parse_json

_QUOTE = "[\"'`‘’“”]"
_DICTIONARY = re.compile(
    rf"(?:{_QUOTE}(?P<quoted>[^\"'`‘’“”\n{{}}]+){_QUOTE}|(?P<bare>[\w\-]+))\s*[:=]\s*\{{(?P<body>[^{{}}]*)\}}"
)
_NAMED = re.compile(rf"{_QUOTE}(?P<name>[^\"'`‘’“”\n]+){_QUOTE}\s*:\s*(?P<index>\d+)")
# What the entry for index 0 may be called, in any case; dashes and underscores count as spaces.
_BACKGROUND = {"", "background", "bg", "good", "normal", "ok", "none", "no defect", "defect free", "背景", "正常"}
_NUMBERED = re.compile(
    rf"^[\s|*\-]*{_QUOTE}?(?P<index>\d+){_QUOTE}?\s*[.:)|=]\s*{_QUOTE}?(?P<name>[^\W\d][^|\n]*?){_QUOTE}?[\s|,]*$", re.M
)


def parse_classes_json(text: str, where: str) -> dict[int, str]:
    """Index -> name without background, from {"0": "background", "1": "hole"}, a list of names in index order,
    or {"classes": [{"index": 1, "name": "hole"}]}. Raises IngestError.
    """
    try:
        content = parse_json(text, _each_once)
    except (ValueError, RecursionError) as err:
        raise IngestError(f"{where}: not valid JSON ({err}); mend the file") from err
    if isinstance(content, dict) and isinstance(content.get("classes"), list):
        pairs = [(row.get("index"), row.get("name")) if isinstance(row, dict) else row for row in content["classes"]]
    elif isinstance(content, dict):
        pairs = list(content.items())
    elif isinstance(content, list):
        pairs = list(enumerate(content))
    else:
        pairs = []
    rows: list[tuple[int, str]] = []
    for pair in pairs:
        try:
            rows.append((int(str(pair[0])), str(pair[1]).strip()))
        except (TypeError, ValueError, IndexError) as err:
            raise IngestError(f'{where}: entry {pair!r}, expected "index": "name"; mend the file') from err
    return check_classes(_defects(rows, where), where)


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"a key stands twice among {', '.join(key for key, _ in pairs)}")
    return found


def _defects(rows: Iterable[tuple[int, str]], where: str) -> dict[int, str]:
    """index -> name without background and ignore. Raises IngestError when index 0 is a class, or an index is twice."""
    classes: dict[int, str] = {}
    for index, name in rows:
        if index in classes:
            raise IngestError(f"{where}: index {index} is {classes[index]!r} and {name!r}; give each class its own")
        if index == 0 and re.sub(r"[\s_\-]+", " ", name).strip().casefold() not in _BACKGROUND:
            raise IngestError(f'{where}: index 0 is {name!r}, but 0 is background; put "background" first')
        classes[index] = name
    return {index: name for index, name in classes.items() if index not in (0, IGNORE)}


def check_classes(classes: dict[int, str], where: str) -> dict[int, str]:
    """The table in index order. Raises IngestError for an index outside 1..254, an empty name or one that is twice."""
    if not classes:
        raise IngestError(f'{where}: no classes; write {{"0": "background", "1": "name of class 1"}}')
    for index, name in classes.items():
        if not 1 <= index <= MAX_CLASSES or not name:
            raise IngestError(f"{where}: class {index} = {name!r}, expected an index 1..{MAX_CLASSES} and a name")
    folded = [name.casefold() for name in classes.values()]
    if len(set(folded)) != len(folded):
        raise IngestError(f"{where}: a class name stands twice: {', '.join(classes.values())}")
    return dict(sorted(classes.items()))


def parse_class_list(text: str, where: str) -> dict[str, dict[int, str]]:
    """Product -> (index -> name) of a DS-*.md; a list for no named product has the key "".

    Known forms: "bottle": {'broken_large': 1, ...} in any quotes; lines or rows such as `1: hole`, `| 1 | hole |`.
    """
    tables: dict[str, dict[int, str]] = {}
    for found in _DICTIONARY.finditer(text):
        product = (found["quoted"] or found["bare"]).strip()
        classes = _defects(_named_pairs(found["body"]), f"{where}: {product}")
        if classes:
            tables[product] = check_classes(classes, f"{where}: {product}")
    if not tables:
        numbered = [(int(pair["index"]), pair["name"].strip()) for pair in _NUMBERED.finditer(text)]
        classes = _defects(_named_pairs(text) or numbered, where)
        if classes:
            tables[""] = check_classes(classes, where)
    return tables


def _named_pairs(body: str) -> list[tuple[int, str]]:
    """(index, name) of a dictionary's inside: as Python reads it, else pair by pair, for typographic quotes."""
    try:
        content = ast.literal_eval(f"{{{body}}}")
        return [(int(index), str(name).strip()) for name, index in content.items()]
    except (ValueError, SyntaxError, TypeError, AttributeError, RecursionError, MemoryError):
        return [(int(pair["index"]), pair["name"].strip()) for pair in _NAMED.finditer(body)]
