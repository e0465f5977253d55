"""MVTec AD: `PRODUCT/train/good`, `PRODUCT/test/DEFECT` and `PRODUCT/ground_truth/DEFECT/ID_mask.png`.

The layout was made for anomaly detection: training images are all defect-free, so every image with a defect lies in
`test`, and a mask knows defect (255) and no defect (0) alone.
"""

from pathlib import Path

import numpy as np

from flywheel.data.classes import BACKGROUND, IGNORE, ClassTable
from flywheel.data.leakage import TRAINING_SPLITS
from flywheel.data.sample import Sample
from flywheel.export.folders import COMBINED, GOOD, defect_folder, folder_name, write_png


class MvtecWriter:
    """Writes each sample at once; counts what the layout cannot hold."""

    def __init__(self, out: Path, classes: ClassTable) -> None:
        self.out = out
        self.classes = classes
        self.combined = self.moved = self.ignored = 0

    def add(self, sample: Sample, split: str) -> None:
        assert sample.mask is not None
        root = self.out / folder_name(sample.product)
        defect = defect_folder(sample, self.classes)
        if defect == GOOD:
            part = "train" if split in TRAINING_SPLITS else "test"
        else:
            part = "test"
            self.moved += split in TRAINING_SPLITS
            marked = (sample.mask != BACKGROUND) & (sample.mask != IGNORE)
            write_png(root / "ground_truth" / defect / f"{sample.id}_mask.png", marked.astype(np.uint8) * 255)
        self.combined += defect == COMBINED
        self.ignored += bool((sample.mask == IGNORE).any())
        write_png(root / part / defect / f"{sample.id}.png", sample.image)

    def finish(self) -> list[str]:
        lost = ["captions and groups have no place in the format"]
        if self.moved:
            lost.append(f"{self.moved} training images with a defect lie in test/: train/ holds good images alone")
        if self.combined:
            lost.append(f"{self.combined} images with several classes lie in {COMBINED}/ under one common mask")
        if self.ignored:
            lost.append(f"{self.ignored} images have ignored regions, which read as defect-free")
        return lost
