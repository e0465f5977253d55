"""Which file of a source a table means by a name."""

from collections import defaultdict

from flywheel.ingest.layout import folder, joined_name, stem


class Finder:
    """Looks beside the table, at the top, in images/, in a folder named like the table, else for the only file with
    that name.
    """

    def __init__(self, images: list[str]) -> None:
        self._images = set(images)
        self._by_base: dict[str, list[str]] = defaultdict(list)
        for image in images:
            self._by_base[image.rpartition("/")[2]].append(image)

    def find(self, table: str, file: str) -> str:
        """Name of the file that `table` calls `file`; "" when there is none, or several that it may mean."""
        file = file.replace("\\", "/").removeprefix("./")
        here = folder(table)
        up = folder(here)
        split_folder = stem(table).removeprefix("instances_")
        for place in (here, "", "images", joined_name(here, "images"), joined_name(up, "images")):
            for candidate in (joined_name(place, file), joined_name(place, split_folder, file)):
                if candidate in self._images:
                    return candidate
        beside = joined_name(up, split_folder, file)
        if beside in self._images:
            return beside
        same = self._by_base[file.rpartition("/")[2]]
        return same[0] if len(same) == 1 else ""
