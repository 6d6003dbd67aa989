"""Trainings that take seconds: an 8-filter VGG11, and 32x32 pictures whose brightest colour is their class."""

import os

import numpy as np
from PIL import Image

from fcn_tf.config import Config
from fcn_tf.data.base import Dataset, DatasetSpec, Example
from tests import matfiles

SPEC = DatasetSpec("tiny", ("red", "green", "blue"), ((255, 0, 0), (0, 255, 0), (0, 0, 255)), ignore_label=255)
SIDE = 32


def scene(seed, classes=3, ignored=0):
    """uint8 (32, 32, 3) and int32 (32, 32): three noisy stripes in a random order; the first rows are ignored."""
    rng = np.random.default_rng(seed)
    label = np.repeat(rng.permutation(3), (10, 12, 10))[:, None].repeat(SIDE, 1)
    label = label.T if seed % 2 else label
    image = np.where(label[..., None] == np.arange(3), 200, 60) + rng.integers(-30, 30, (SIDE, SIDE, 3))
    label = label.astype(np.int32) % classes
    label[:ignored] = 255
    return image.astype(np.uint8), label


def dataset(count, split="train", *, first_seed=0, on_read=None):
    """Example i has 5 i ignored rows, the last ones nothing else, so that replicas weigh unevenly."""
    examples = tuple(Example(f"{split}{i}") for i in range(count))

    def read(example):
        index = examples.index(example)
        if on_read is not None:
            on_read(index)
        return scene(first_seed + index, ignored=5 * index)

    return Dataset(SPEC, split, examples, read)


def load(name, data_dir, split, **_):
    """Stands in for `datasets.load`."""
    return dataset(8) if split == "train" else dataset(3, split, first_seed=100)


def write_weights(folder):
    """An 8-filter VGG11 as a .mat file; returns its path."""
    return matfiles.write_mat(os.path.join(folder, "narrow.mat"), matfiles.vgg_convs(11, (8,) * 5))


def write_camvid(folder, train=6, validation=2):
    """The scenes as files in CamVid's layout; returns the folder's path."""
    for split, labels, count in (("train", "trainannot", train), ("val", "valannot", validation)):
        for name in (split, labels):
            os.makedirs(os.path.join(folder, name), exist_ok=True)
        for i in range(count):
            image, label = scene(i if split == "train" else 100 + i, ignored=4 * i)
            Image.fromarray(image).save(os.path.join(folder, split, f"{i}.png"))
            label = np.where(label == 255, 11, label).astype(np.uint8)
            Image.fromarray(label).save(os.path.join(folder, labels, f"{i}.png"))
    return str(folder)


def config(folder, **changes):
    """Settings of a training under `folder`/run with weights in `folder`."""
    values = {
        "logs_dir": os.path.join(folder, "run"),
        "arch": "fcn8s",
        "weights": os.path.join(folder, "narrow.mat"),
        "dataset": "camvid",
        "image_size": SIDE,
        "batch_size": 4,
        "learning_rate": 3e-3,
        "max_steps": 16,
        "eval_every": 8,
        "save_every": 4,
        "log_every": 1,
    }
    return Config(**values | changes)


def events(folder):
    """{tag: {step: value}} of the TensorBoard events in a folder; value is None for what is no number."""
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    found: dict[str, dict] = {}
    for name in sorted(os.listdir(folder)):
        for event in LegacyEventFileLoader(os.path.join(folder, name)).Load():
            if event.graph_def:
                found.setdefault("graph", {})[event.step] = None
            for value in event.summary.value:
                plugin = value.metadata.plugin_data.plugin_name
                number = float(tf.make_ndarray(value.tensor)) if plugin in ("", "scalars") else None
                found.setdefault(value.tag, {})[event.step] = number
    return found
