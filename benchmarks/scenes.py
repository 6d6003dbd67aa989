"""Generated photos and label maps as files, in CamVid's layout. No TensorFlow."""

import os

import cv2
import numpy as np

from fcn_tf.data.datasets import camvid
from fcn_tf.io import files, images


def write_camvid(folder: str, *, train: int, validation: int, width: int = 480, height: int = 360) -> str:
    """Writes what `--dataset=camvid --data_dir=FOLDER` reads: JPEG photos and PNG label maps.

    Photos are blotches of several sizes under noise, which JPEG makes about as large as it makes photos; labels are
    regions of the same kind.

    Args:
      folder: where; made if missing.
      train: how many training examples.
      validation: how many validation examples.
      width: of the pictures, in pixels.
      height: of the pictures, in pixels.

    Returns:
      `folder`.
    """
    for split, count in (("train", train), ("val", validation)):
        for number in range(count):
            image, label = scene(number if split == "train" else 1_000_000 + number, width=width, height=height)
            for name, data in (
                (f"{split}/{number:05d}.jpg", images.encode_jpeg(image)),
                (f"{split}annot/{number:05d}.png", images.encode_png(label)),
            ):
                path = os.path.join(folder, name)
                files.makedirs(os.path.dirname(path))
                files.write_bytes(path, data)
    return folder


def scene(seed: int, *, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """One example: uint8 (height, width, 3) RGB and int32 (height, width) ids of CamVid's classes."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 128.0, np.float32)
    for cells, strength in ((4, 60.0), (16, 30.0), (64, 15.0)):
        coarse = rng.normal(0, strength, (cells, cells, 3)).astype(np.float32)
        image += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    image += rng.normal(0, 4, image.shape).astype(np.float32)
    height_map = cv2.resize(rng.random((8, 8), np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    label = np.clip(height_map * camvid.SPEC.num_classes, 0, camvid.SPEC.num_classes - 1).astype(np.int32)
    return np.clip(image, 0, 255).astype(np.uint8), label
