"""What all families of images draw alike."""

from __future__ import annotations

from random import Random

from measure.zoo.builder import round_width

_IMAGE_SIZES = (32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256)
_NUM_CLASSES = (10, 100, 1000)
_BATCHES = (1,) * 8 + (2, 4)
_KERNELS = (3, 3, 3, 5, 7)


def draw_image_size(rng: Random) -> int:
    """Height and width of the image."""
    return rng.choice(_IMAGE_SIZES)


def draw_num_classes(rng: Random) -> int:
    """Size of the output."""
    return rng.choice(_NUM_CLASSES)


def draw_batch(rng: Random) -> int:
    """Images per inference: mostly one."""
    return rng.choice(_BATCHES)


def draw_kernel(rng: Random) -> int:
    """Kernel size of a convolution: mostly 3."""
    return rng.choice(_KERNELS)


def vary_width(rng: Random, width: float, divisor: int = 4) -> int:
    """A number of channels near ``width``, a multiple of ``divisor``."""
    return round_width(width * rng.uniform(0.7, 1.3), divisor)


def vary_depth(rng: Random, depth: int, *, fewer: int = 2, more: int = 1) -> int:
    """A number of blocks near ``depth``, at least one."""
    return max(1, depth + rng.randint(-fewer, more))
