"""Texture statistics from a fixed bank of oriented filters: features that need no weights and no training.

A light form of Portilla and Simoncelli, "A parametric texture model based on joint statistics of complex wavelet
coefficients" (IJCV 40, 2000): a complex steerable pyramid, of whose local magnitudes means, deviations and correlations
are kept. Scales are octaves in px, so pictures are compared at the size that they have.
"""

import math
from functools import cache

import torch
from torch import Tensor

PERIODS = (2.83, 5.66, 11.3, 22.6)  # px, centre of each octave; the finest ends at 2 px, the limit of any picture
ORIENTATIONS = 4  # bands a scale, the first for waves that run along a row
GREY = (0.299, 0.587, 0.114)
FAINTEST = 1e-3  # of full scale, a quarter of a grey level: fainter bands count as this faint


@cache
def bank(height: int, width: int, device: torch.device) -> Tensor:
    """(scales, orientations, height, width) float32 frequency responses; a real wave's magnitude is its amplitude.

    Radially raised cosines over one octave either side, whose squares add up to 1; each passes one half plane only, so
    that the filtered picture is complex and its magnitude does not ripple with the wave.
    """
    rows = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    columns = torch.fft.fftfreq(width, dtype=torch.float64)[None]
    radius = (rows**2 + columns**2).sqrt().clamp(min=1e-9)
    angle = torch.atan2(rows, columns)
    bands = []
    for period in PERIODS:
        octaves = torch.log2(radius * period)
        ring = torch.where(octaves.abs() < 1, torch.cos(octaves * math.pi / 2), torch.zeros(()))
        for number in range(ORIENTATIONS):
            off = torch.cos(angle - number * math.pi / ORIENTATIONS)
            bands.append(2 * ring * torch.where(off > 0, off, torch.zeros(())) ** (ORIENTATIONS - 1))
    shape = (len(PERIODS), ORIENTATIONS, height, width)
    return torch.stack(bands).reshape(shape).float().to(device)


def magnitudes(grey: Tensor) -> Tensor:
    """Local amplitudes of (N, H, W): (N, scales, orientations, H, W). The picture goes on as its mirror image."""
    height, width = grey.shape[1:]
    whole = torch.cat([grey, grey.flip(2)], 2)
    whole = torch.cat([whole, whole.flip(1)], 1)
    spectrum = torch.fft.fft2(whole)[:, None]
    # one scale at a time, since all together need much memory
    scales = [
        torch.fft.ifft2(spectrum * responses).abs()[..., :height, :width]
        for responses in bank(2 * height, 2 * width, grey.device)
    ]
    return torch.stack(scales, 1)


def texture_features(images: Tensor) -> Tensor:
    """(N, 3, H, W) float RGB in 0..255 -> (N, 83).

    Mean, deviation, skewness and kurtosis of each colour and the correlations of colours; of every band log10 of mean
    and of deviation of the magnitude; correlations of magnitudes between neighbouring scales, and between orientations.
    """
    with torch.autocast(images.device.type, enabled=False):
        scaled = images.float() / 255
        bands = magnitudes((scaled * scaled.new_tensor(GREY).view(1, 3, 1, 1)).sum(1)).flatten(3)
        mean, deviation = bands.mean(3), bands.std(3, unbiased=False)
        unit = (bands - mean[..., None]) / deviation.clamp(min=FAINTEST)[..., None]
        across_scales = (unit[:, :-1] * unit[:, 1:]).mean(3)
        pairs = torch.triu_indices(ORIENTATIONS, ORIENTATIONS, 1)
        across_angles = (unit[:, :, pairs[0]] * unit[:, :, pairs[1]]).mean(3)
        logs = [value.clamp(min=FAINTEST).log10().flatten(1) for value in (mean, deviation)]
        return torch.cat([_colour(scaled.flatten(2)), *logs, across_scales.flatten(1), across_angles.flatten(1)], 1)


def _colour(pixels: Tensor) -> Tensor:
    """(N, 3, P) in 0..1 -> (N, 15)."""
    mean, deviation = pixels.mean(2), pixels.std(2, unbiased=False)
    unit = (pixels - mean[..., None]) / deviation.clamp(min=FAINTEST)[..., None]
    kurtosis = (unit**4).mean(2).clamp(max=100).sqrt()  # the root, since rare defects make it large
    pairs = torch.triu_indices(3, 3, 1)
    return torch.cat([mean, deviation, (unit**3).mean(2), kurtosis, (unit[:, pairs[0]] * unit[:, pairs[1]]).mean(2)], 1)
