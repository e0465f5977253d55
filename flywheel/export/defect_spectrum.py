"""Defect Spectrum (arXiv 2310.17316): `PRODUCT/{image,mask,rgb_mask}/DEFECT/`, captions.xlsx and class lists.

Masks `ID_mask.png` are 8-bit index PNGs with the indices of the class table (255 ignore); the class list of a product
is a dictionary from class name to index, as in the published lists.
"""

from pathlib import Path

import openpyxl

from flywheel.data.classes import ClassTable, class_colour
from flywheel.data.sample import Sample
from flywheel.export.folders import caption_of, defect_folder, folder_name, write_png
from flywheel.files import write_text

CAPTION_COLUMNS = ("path", "product", "defect", "defect description", "split")


class DefectSpectrumWriter:
    """Writes pictures as they come, and the captions and class lists at the end."""

    def __init__(self, out: Path, classes: ClassTable) -> None:
        self.out = out
        self.classes = classes
        self.captions: list[tuple[str, ...]] = []
        self.products: dict[str, str] = {}

    def add(self, sample: Sample, split: str) -> None:
        assert sample.mask is not None
        product = folder_name(sample.product)
        self.products[product] = sample.product
        defect = defect_folder(sample, self.classes)
        name, mask_name = f"{sample.id}.png", f"{sample.id}_mask.png"
        write_png(self.out / product / "image" / defect / name, sample.image)
        write_png(self.out / product / "mask" / defect / mask_name, sample.mask)
        write_png(self.out / product / "rgb_mask" / defect / mask_name, self.classes.palette()[sample.mask])
        text = caption_of(sample, self.classes)
        self.captions.append((f"{product}/image/{defect}/{name}", product, defect, text, split))

    def finish(self) -> list[str]:
        book = openpyxl.Workbook()
        sheet = book.active
        assert sheet is not None
        sheet.title = "captions"
        for row in (CAPTION_COLUMNS, *self.captions):
            sheet.append(row)
        book.save(self.out / "captions.xlsx")
        for product in self.products:
            write_text(self.out / f"DS-{product}.md", _class_list(product, self.classes))
        return ["groups have no place in the format; splits stand in captions.xlsx alone"]


def _class_list(product: str, classes: ClassTable) -> str:
    table = {name: index for index, name in enumerate(classes.names, start=1)}
    colours = ["- {}: #{:02x}{:02x}{:02x}".format(name, *class_colour(index)) for name, index in table.items()]
    return "\n".join([f"# DS-{product}", "", f'"{product}": {table}', "", "Colours in rgb_mask:", "", *colours]) + "\n"
