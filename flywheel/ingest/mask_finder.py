"""Which mask file belongs to an image: by its path below the folders, by its id, or by its bare name."""

from collections import defaultdict
from pathlib import PurePosixPath

from flywheel.ingest.layout import stem


class MaskFinder:
    """Pairs the files of images/ and masks/, whose names may come again in every subfolder.

    A bare name means a mask only where it can mean no other mask and no other image.
    """

    def __init__(self, images: list[str], masks: list[str], keys: list[str] | None = None) -> None:
        """keys: the images' ids, "" where there is none."""
        known, paths = keys or [], {_path(mask) for mask in masks}
        unique = "" not in known and len(set(known)) == len(known)
        # every mask is an id and not every one an image's name: then ids are meant, whatever else they look like
        self._all_by_id = unique and bool(paths) and paths <= set(known) and not paths <= {_path(one) for one in images}
        self._images = {_path(image): image for image in images}
        self._by_path: dict[str, list[str]] = defaultdict(list)
        self._loose: dict[str, list[str]] = defaultdict(list)  # bare name: masks that no image has the path of
        self._rivals: dict[str, list[str]] = defaultdict(list)  # bare name: images that no mask has the path of
        for mask in masks:
            self._by_path[_path(mask)].append(mask)
            if _path(mask) not in self._images:
                self._loose[stem(mask)].append(mask)
        for image in images:
            if _path(image) not in self._by_path:
                self._rivals[stem(image)].append(image)

    def find(self, image: str, key: str) -> tuple[list[str], str]:
        """(masks, fault): one mask or none; with a fault, those that may be meant. key: the image's id, or ""."""
        if self._all_by_id:
            return self._by_path.get(key, []), ""
        named, fault = self._named(image)
        own = {"", _path(image), stem(image)}
        keyed = [] if key in own else self._by_path.get(key) or self._loose.get(key, [])
        if len(keyed) > 1 and not named:
            return keyed, _several(image, keyed)
        if len(keyed) != 1 or keyed == named:
            return named, fault
        owner = self._images.get(_path(keyed[0]))
        if named and not fault:
            other = f"the name says {named[0]}"
        elif owner:
            other = f"which is named like {owner}"
        else:
            return keyed, ""
        return [*keyed, *named], f"{image}: id {key} says {keyed[0]}, {other}; name all masks by id, or all by image"

    def _named(self, image: str) -> tuple[list[str], str]:
        found = self._by_path.get(_path(image))
        if found is None:
            found = self._loose.get(stem(image), [])
            rivals = self._rivals[stem(image)]
            if found and len(rivals) > 1:
                return found, f"{image}: {found[0]} may also belong to {_other(rivals, image)}; {_CURE}"
        return found, _several(image, found)


_CURE = "put each mask into the subfolder that its image has"


def _several(image: str, masks: list[str]) -> str:
    return f"{image}: its mask may be {' or '.join(masks)}; {_CURE}" if len(masks) > 1 else ""


def _other(images: list[str], image: str) -> str:
    return next(other for other in images if other != image)


def _path(name: str) -> str:
    """Path of a file below images/ or masks/, without its extension."""
    below = name.partition("/")[2] if name.startswith(("images/", "masks/")) else name
    return str(PurePosixPath(below).with_suffix(""))
