"""Samples out of the wheel, in the layouts of other tools: COCO, MVTec AD, Defect Spectrum, YOLO and others."""
