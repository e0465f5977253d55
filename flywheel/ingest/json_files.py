"""The JSON files of a source, read alike by every reader of annotations in JSON."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from flywheel.errors import IngestError
from flywheel.ingest.layout import Layout
from flywheel.ingest.source import Source, read_table_text, suffix

_UNREADABLE = (IngestError, ValueError, RecursionError)


def parse_json(text: str, object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Content of JSON; half a surrogate pair, which no file and no table can hold, becomes its escape as plain text.

    Raises ValueError.
    """
    content = json.loads(text, object_pairs_hook=object_pairs_hook)
    if "\\ud" not in text.lower():  # how such a half is written, and it is rare
        return content
    whole = json.dumps(content, ensure_ascii=False)
    return json.loads(re.sub("[\ud800-\udfff]", lambda half: rf"\\u{ord(half[0]):04x}", whole))


def _json_names(names: list[str]) -> list[str]:
    return [name for name in names if suffix(name) == ".json"]


def first_json(source: Source, names: list[str], is_it: Callable[[object], bool]) -> str:
    """The first file whose content `is_it` takes, "" when there is none; what is no JSON is passed over."""
    for name in _json_names(names):
        try:
            content = parse_json(read_table_text(source, name))
        except _UNREADABLE:
            continue
        if is_it(content):
            return name
    return ""


def read_json_files(source: Source, names: list[str], layout: Layout) -> Iterator[tuple[str, Any]]:
    """Name and content of each file; one that is no JSON goes to layout.problems."""
    for name in _json_names(names):
        try:
            content = parse_json(read_table_text(source, name))
        except _UNREADABLE as err:
            layout.problems.append((name, f"{name}: not valid JSON ({err}); export it again"))
            continue
        yield name, content
