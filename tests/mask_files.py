"""Masks as bytes of files, for tests."""

import io

import numpy as np
from PIL import Image


def encoded(pixels, form="PNG", mode=None, **options):
    """Pixels uint8 (H, W) or (H, W, C) in a file of this form."""
    file = io.BytesIO()
    picture = Image.fromarray(np.asarray(pixels, np.uint8))
    (picture.convert(mode) if mode else picture).save(file, form, **options)
    return file.getvalue()


def indexed(indices, *colors, **options):
    """Indices (H, W) in a palette PNG of these colours; without any, the palette is a ramp of greys."""
    picture = Image.fromarray(np.asarray(indices, np.uint8)).convert("P")
    if colors:
        picture.putpalette(np.array(colors, np.uint8).ravel().tolist())
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    return file.getvalue()


def sixteen_bits():
    """0, 1000, 40000 and 0 in a 16-bit PNG of 2x2."""
    file = io.BytesIO()
    Image.fromarray(np.array([[0, 1000], [40000, 0]], np.uint16)).save(file, "PNG")
    return file.getvalue()


def halves(first, second):
    """(32, 32): one value on the left, another one on the right."""
    return np.repeat([[first] * 16 + [second] * 16], 32, axis=0)


def soft(colors, form="PNG", seed=0, size=(120, 160)):
    """A disc of each colour but the first on a ground of that, brought to `size` (H, W) with blending."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:300, :400]
    pixels = np.broadcast_to(np.array(colors[0], np.uint8), (300, 400, 3)).copy()
    for place, color in enumerate(colors[1:]):
        y, x = rng.integers(60, 240), 60 + 280 * (place + rng.random()) / max(len(colors) - 1, 1)
        pixels[(rows - y) ** 2 + (columns - x) ** 2 < rng.integers(35, 50) ** 2] = color
    picture = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR)
    file = io.BytesIO()
    picture.save(file, form)
    return file.getvalue()
