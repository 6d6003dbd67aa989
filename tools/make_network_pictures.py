"""Makes the pictures of docs/network.md from a run of `--arch=fcn8s` on the data set `shapes`.

    python main.py --mode=train --arch=fcn8s --logs_dir=logs/fcn8s
    python tools/make_network_pictures.py --logs_dir=logs/fcn8s --output=docs

The picture looked at is twelve validation scenes put together, since one scene is smaller than most receptive fields.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import keras
import numpy as np

from fcn_tf.data import palette
from fcn_tf.data.datasets import shapes
from fcn_tf.inference import explanations
from fcn_tf.inference.evaluator import load_model
from fcn_tf.io import files, images
from fcn_tf.io.run_dir import Run
from fcn_tf.models.receptive_field import ReceptiveFields
from fcn_tf.reports import explanation_page, panels

_ROWS, _COLUMNS = 3, 4  # scenes
_FIRST = 4  # of the validation scenes
_STAGES = {f"conv{stage}": f"pool{stage}" for stage in range(1, 6)}  # title: layer
_CHANNELS = 3  # of each stage
_LARGEST_CORRELATION = 0.3  # of two channels that are shown
# From coarse to fine, the layers that hold a score for each class.
_SCORES = {"conv8": "stride 32", "fuse_pool4": "+ pool4: stride 16", "fuse_pool3": "+ pool3: stride 8", "logits": "x 8"}
_POINT = (150, 250)  # row and column: inside an object
_HEIGHT, _QUALITY = 170, 88  # of each picture in pixels; of the JPEGs


def scenes() -> tuple[np.ndarray, np.ndarray]:
    """Validation scenes side by side: uint8 (H, W, 3) and int32 (H, W)."""
    dataset = shapes.load("", "validation")
    read = [dataset.read(example) for example in dataset.examples[_FIRST : _FIRST + _ROWS * _COLUMNS]]
    return tuple(  # type: ignore[return-value]
        np.concatenate([np.concatenate(part[row * _COLUMNS :][:_COLUMNS], axis=1) for row in range(_ROWS)])
        for part in zip(*read, strict=True)
    )


def enlarged(small: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map as large as the picture, its units visible as squares."""
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_NEAREST)


def different_channels(values: np.ndarray) -> list[int]:
    """The channels of (h, w, C) that vary most for their largest value and tell different things."""
    correlation = np.abs(np.nan_to_num(np.corrcoef(values.reshape(-1, values.shape[-1]).T)))
    chosen: list[int] = []
    for channel in np.argsort(-values.std((0, 1)) / (values.max((0, 1)) + 1e-6), kind="stable").tolist():
        if all(correlation[channel, other] < _LARGEST_CORRELATION for other in chosen):
            chosen.append(channel)
    return chosen[:_CHANNELS]


def features(model: keras.Model, picture: np.ndarray) -> np.ndarray:
    """What the stages of the trunk find: channels that vary over the picture, a column a stage."""
    layers = list(_STAGES.values())
    maps = keras.Model(model.input, [model.get_layer(name).output for name in layers])(picture[None].astype("float32"))
    columns = []
    for name, values in zip(layers, maps, strict=True):
        values = values[0].numpy()
        strongest = different_channels(values)
        shown = [values[..., channel] / values[..., channel].max() for channel in strongest]
        size = f"{name}: {values.shape[1]}x{values.shape[0]}"
        cells = [
            (
                size if number == 0 else f"channel {channel}",
                panels.heat(np.zeros_like(picture), enlarged(each, picture.shape[:2])),
            )
            for number, (channel, each) in enumerate(zip(strongest, shown, strict=True))
        ]
        columns.append(cells)
    return panels.grid(list(zip(*columns, strict=True)), height=_HEIGHT * 2 // 3)


def scores(model: keras.Model, picture: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The label of the highest score, from the coarsest map to the picture's own size."""
    maps = keras.Model(model.input, [model.get_layer(name).output for name in _SCORES])(picture[None].astype("float32"))
    colors = shapes.SPEC.colors
    cells = [("photo", picture)]
    for caption, values in zip(_SCORES.values(), maps, strict=True):
        labels = values[0].numpy().argmax(-1).astype(np.uint8)
        cells.append((caption, palette.colorize(enlarged(labels, truth.shape), colors)))
    cells.append(("ground truth", palette.colorize(truth, colors, shapes.IGNORED)))
    return panels.grid([cells[:3], cells[3:]], height=_HEIGHT)


def main() -> None:
    """Writes network_{features,scores,fields,gradcam}.jpg."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--logs_dir", required=True)
    parser.add_argument("--output", default="docs")
    options = parser.parse_args()
    model = load_model(Run(options.logs_dir))
    picture, truth = scenes()
    fields = ReceptiveFields(model)
    found = explanations.explain(model, picture, layers=list(_STAGES.values()), point=_POINT, fields=fields)
    of_class = explanations.explain(
        model, picture, layers=explanations.stage_ends(fields, model), class_id=found.class_id, fields=fields
    )
    shown = [
        explanation_page.ShownField(each.layer, each.box, each.measured, each.effective_side, each.gradient)
        for each in (*found.fields, found.output)
    ]
    drawn = [(each.layer, explanation_page.draw_field(picture, found.point, each)) for each in shown]
    name = shapes.SPEC.class_names[found.class_id]
    region = np.where(of_class.region[..., None], picture, picture // 4)
    cams = [(layer, panels.heat(picture, values)) for layer, values in of_class.cams.items()]
    made = {
        "features": features(model, picture),
        "scores": scores(model, picture, truth),
        "fields": panels.grid([drawn[:3], drawn[3:]], height=_HEIGHT),
        "gradcam": panels.grid([[(f"predicted as {name}", region), cams[0]], cams[1:]], height=_HEIGHT),
    }
    for kind, pixels in made.items():
        path = files.join(options.output, f"network_{kind}.jpg")
        data = images.encode_jpeg(pixels, _QUALITY)
        files.write_bytes(path, data)
        print(f"{path}: {pixels.shape[1]}x{pixels.shape[0]}, {len(data) / 1000:.0f} kB")
    for each in (*found.fields, found.output):
        measured = each.measured
        print(
            f"{each.layer}: {each.box.width}x{each.box.height}, {measured.width}x{measured.height} measured, "
            f"effective side {each.effective_side:.0f}"
        )


if __name__ == "__main__":
    main()
