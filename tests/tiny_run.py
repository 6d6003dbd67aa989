"""A run small enough to check by hand: the model takes the brightest of red, green and blue for the class."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from fcn_tf import registry
from fcn_tf.config import Config
from fcn_tf.data.base import Dataset, DatasetSpec, Example
from fcn_tf.io import images
from fcn_tf.io.run_dir import Run

COLORS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
SPEC = DatasetSpec("tiny", ("red", "green", "blue"), COLORS, ignore_label=3)


def color_model(num_classes=3, scale=1 / 255):
    """Keras model: RGB -> logits = scale * (R, G, B); further classes never win."""
    import keras

    pictures = keras.Input((None, None, 3))
    logits = keras.layers.Conv2D(num_classes, 1, name="pick")(pictures)
    model = keras.Model(pictures, logits)
    kernel = np.zeros((1, 1, 3, num_classes), np.float32)
    kernel[0, 0, range(3), range(3)] = scale
    model.get_layer("pick").set_weights([kernel, np.where(np.arange(num_classes) < 3, 0.0, -1.0)])
    return model


def paint(classes):
    """Class ids (H, W) -> the picture that `color_model` labels so."""
    return np.array(COLORS, np.uint8)[np.asarray(classes)]


def dataset(pairs, spec=SPEC, split="validation"):
    """Data set of (classes seen in the picture, label map) pairs named image0, image1, ..."""
    arrays = [(paint(seen), np.asarray(label, np.int32)) for seen, label in pairs]
    examples = tuple(Example(f"image{i}") for i in range(len(arrays)))
    by_name = dict(zip(examples, arrays, strict=True))
    return Dataset(spec, split, examples, by_name.__getitem__)


def write_run(logs_dir, spec=SPEC, flags=None):
    """Writes model.keras and config.json as a training would."""
    run = Run(str(logs_dir))
    run.write_config(
        {
            "class_names": list(spec.class_names),
            "colors": [list(color) for color in spec.colors],
            "ignore_label": spec.ignore_label,
            "dataset": spec.name,
            "flags": flags or {},
        }
    )
    color_model(spec.num_classes).save(run.model)
    return run


def write_export(logs_dir, precision="int8"):
    """An export as onnxruntime would run it; here Keras does, and swaps red and green, to be told from the model."""
    from fcn_tf import export
    from fcn_tf.formats.base import Source
    from fcn_tf.models import segmentation

    folder = Path(logs_dir) / f"export/onnx-{precision}"
    folder.mkdir(parents=True)
    model = color_model()
    kernel, bias = model.get_layer("pick").get_weights()
    model.get_layer("pick").set_weights([kernel[..., [1, 0, 2]], bias])
    metadata = export._metadata({"class_names": SPEC.class_names, "colors": COLORS}, "uint8", precision)
    metadata["model_stamp"] = list(Run(str(logs_dir)).model_stamp())
    source = Source(segmentation.segmentation_model(model, SPEC.class_names), metadata)
    registry.resolve(registry.EXPORTS["keras"]).write(source, str(folder), "float32")
    (folder / "classes.json").write_text(json.dumps(metadata))
    return folder


def replace_onnxruntime(monkeypatch):
    """Puts Keras in place of ONNX Runtime, which may not be installed."""
    monkeypatch.setitem(registry.EXPORTS, "onnx", registry.EXPORTS["keras"])
    monkeypatch.setitem(registry.RUNTIMES, "onnxruntime", registry.EXPORTS["keras"])


def config(mode, logs_dir, **changes):
    """The settings that main.py hands to a mode."""
    values: dict[str, Any] = {"mode": mode, "logs_dir": str(logs_dir), "data_dir": "", "batch_size": 2}
    return Config(**values | changes)


def save_labels(folder, maps):
    """Writes label maps as PNGs by file name; returns the folder."""
    os.makedirs(folder, exist_ok=True)
    for name, labels in maps.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(images.encode_png(np.asarray(labels, np.uint8)))
    return str(folder)
