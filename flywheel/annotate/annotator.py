"""Whoever answers a label queue: a person's tool, a model, or a data set that knows."""

from typing import Protocol

from flywheel.data.classes import ClassTable
from flywheel.data.sample import Sample


class Annotator(Protocol):
    """Gives masks for samples."""

    def class_names(self) -> list[str]:
        """The classes that its masks may hold; unknown ones are added to the class table before it labels."""

    def label(self, samples: list[Sample], classes: ClassTable) -> list[Sample]:
        """The samples that it can answer, with mask and annotator set; the others are left out.

        classes: holds at least `class_names()`; masks use its indices.
        """
