"""Small data sets in files of every kind, and the records made of them."""

import numpy as np
from PIL import Image

from fcn_tf import prepare
from fcn_tf.config import Config


def write(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)


def photo(seed, height=24, width=20):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3))


def write_folder(root, count=10, mask="values", suffix="png"):
    """Photos of several sizes with masks of 0 and 255, or of black and red; no split."""
    for number in range(count):
        height, width = 20 + number, 33 - number
        write(root / f"images/p{number}.jpg", photo(number, height, width))
        inside = np.arange(height)[:, None] + np.arange(width) > height
        values = 255 * inside if mask == "values" else inside[..., None] * np.array([255, 0, 0])
        write(root / f"masks/p{number}.{suffix}", values)
    return str(root)


def make(dataset, data_dir, out, **flags):
    """Prepares and returns where to."""
    said = {"logs_dir": f"{out}_logs"} | flags
    config = Config(mode="prepare", dataset=dataset, data_dir=str(data_dir), output_dir=str(out), **said)
    assert prepare.run(config) == 0
    return str(out)
