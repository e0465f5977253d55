"""The main axes of a region from its second moments; each pixel is a unit square."""

import math

import numpy as np


def main_axis(rows: np.ndarray, columns: np.ndarray) -> tuple[float, float]:
    """Ratio of the long axis to the short one, at least 1, and the angle of the long one in radians.

    rows, columns: (N,) places of the region's pixels. The angle is 0 along a row, within -pi/2..pi/2.
    """
    row_var, column_var = rows.var() + 1 / 12, columns.var() + 1 / 12
    covariance = ((rows - rows.mean()) * (columns - columns.mean())).mean()
    middle, radius = (row_var + column_var) / 2, math.hypot((row_var - column_var) / 2, covariance)
    angle = math.atan2(2 * covariance, column_var - row_var) / 2
    return math.sqrt((middle + radius) / (middle - radius)), angle
