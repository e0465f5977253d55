"""Defect-Gen (arXiv:2310.17316): two diffusion models, wide then narrow receptive field, draw image and mask."""
