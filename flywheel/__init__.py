"""Defect Flywheel: a data flywheel for industrial defect segmentation."""

__version__ = "0.1.0"
