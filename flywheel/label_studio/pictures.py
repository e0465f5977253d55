"""The images of Label Studio's tasks: from the workspace where it has them, else from the Label Studio server."""

import re
import threading
import time
from typing import Any

import numpy as np

from flywheel.data.sample import pixel_id
from flywheel.errors import UnreadableImage
from flywheel.ingest.images import byte_limit, decode_image
from flywheel.ingest.label_studio import image_path
from flywheel.label_studio.client import Client
from flywheel.labelling.images import Gallery
from flywheel.labelling.lru import Lru
from flywheel.paths import Paths

FETCHED = 512 * 2**20  # bytes of pixels kept
FRESH = 600.0  # s that an address is taken to show the same image
# An exported image is called after its sample's id; Label Studio puts eight digits before the name of an upload.
_NAME = re.compile(r"(?:^|/)(?:[0-9a-f]{8}-)?([0-9a-f]{16})\.png$")


class TaskPictures(Gallery):
    """A gallery that also holds what was fetched; samples are known by the digest of their pixels either way."""

    def __init__(self, paths: Paths, client: Client, max_pixels: int) -> None:
        super().__init__(paths)
        self._client, self._max_pixels = client, max_pixels
        self._fetched: Lru[np.ndarray] = Lru(FETCHED, lambda pixels: pixels.nbytes)
        self._places: Lru[tuple[float, str]] = Lru(10_000, lambda place: 1)
        self._fetching = threading.Lock()

    def sample_of(self, address: Any) -> str:
        """Id of the image at the address in a task's data; it is fetched unless it is here.

        Raises UnreadableImage when it cannot become an image, LabelStudioUnavailable when Label Studio does not answer.
        """
        if not isinstance(address, str) or not address:
            raise UnreadableImage(f"image {address!r} in the task's data, expected an address; mend the task")
        named = _NAME.search(image_path(address))
        if named and self.has(named[1]):
            return named[1]
        with self._fetching:
            when, sample = self._places.get(address) or (0.0, "")
            if sample and time.monotonic() - when < FRESH and self._fetched.get(sample) is not None:
                return sample
            content = self._client.read(address, byte_limit(self._max_pixels))
            pixels = decode_image(content, address[:200], self._max_pixels).pixels
            sample = pixel_id(pixels)
            self._fetched.put(sample, pixels)
            self._places.put(address, (time.monotonic(), sample))
        return sample

    def size(self, sample: str) -> tuple[int, int]:
        pixels = self._fetched.get(sample)
        return super().size(sample) if pixels is None else (pixels.shape[0], pixels.shape[1])

    def pixels(self, sample: str) -> np.ndarray:
        pixels = self._fetched.get(sample)
        return super().pixels(sample) if pixels is None else pixels
