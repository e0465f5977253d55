"""Images per second of the cloth simulator on one core, beside writing and reading a PNG of the same image.

    OMP_NUM_THREADS=1 python benchmarks/fabric.py [--images 60]

Counted in CPU seconds of this process, so that a busy machine does not change the figures; OpenCV's threads are
off, the variable turns numpy's off. The three kinds of work take turns on the same images of the same run.
"""

import argparse
import time

import cv2

from flywheel.data.fabric import draw_sample
from flywheel.data.sample import decode_png, encode_png

SIDES = (128, 256, 512)


def measure(side: int, images: int, classes: tuple[int, ...] | None) -> tuple[float, float, float]:
    """CPU seconds per image for drawing, encoding and decoding."""
    draw = encode = decode = 0.0
    draw_sample(0, 0, size=(side, side))  # the lot's fibre texture is made once
    for index in range(images):
        start = time.process_time()
        sample = draw_sample(0, index, size=(side, side), classes=classes)
        drawn = time.process_time()
        content = encode_png(sample.image)
        encoded = time.process_time()
        decode_png(content)
        draw, encode, decode = (
            draw + drawn - start,
            encode + encoded - drawn,
            decode + time.process_time() - encoded,
        )
    return draw / images, encode / images, decode / images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=60)
    images = parser.parse_args().images
    cv2.setNumThreads(1)
    print(f"{'px':>4} {'images':<22} {'draw/s':>8} {'PNG write/s':>12} {'PNG read/s':>11} {'draw : write + read':>20}")
    for side in SIDES:
        for label, classes in (("production (30 %)", None), ("three classes each", (1, 2, 5))):
            draw, encode, decode = measure(side, images, classes)
            ratio = draw / (encode + decode)
            print(f"{side:>4} {label:<22} {1 / draw:>8.0f} {1 / encode:>12.0f} {1 / decode:>11.0f} {ratio:>20.1f}")


if __name__ == "__main__":
    main()
