"""The segmenter: one network on segmentation-models-pytorch, trained once per arm and seed."""
