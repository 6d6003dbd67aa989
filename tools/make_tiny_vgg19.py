"""Makes fcn_tf/models/tiny-vgg19.mat: a narrow VGG19 trained on generated pictures, in MatConvNet's beta16 layout.

    python tools/make_tiny_vgg19.py --output=fcn_tf/models/tiny-vgg19.mat

The network is fcn8s over sixteen narrow convolutions, trained from scratch to segment scenes of eight patterns: the
five of the data set `shapes` and three others, drawn with seeds that `shapes` never uses. Only the trunk is kept, its
batch normalisation folded into the convolutions. What it knows is generated texture: it makes the first command of
the README work in minutes, and is no substitute for the real VGG19 on photographs.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from fcn_tf.data import crops, pipeline
from fcn_tf.data.base import Dataset, DatasetSpec, Example
from fcn_tf.data.datasets import shapes
from fcn_tf.models import heads, matconvnet

_STAGES = ((2, 16), (2, 32), (4, 48), (4, 64), (4, 96))  # (convolutions, filters)
_MEAN_RGB = (127.5, 127.5, 127.5)
_REPORT = 50  # steps a line of progress
_FIRST_SEED = 10_000_000  # shapes uses seeds below
_DIFFICULTY = shapes.Difficulty(objects=(2, 4), clutter=(1, 4), radius=(20.0, 36.0))  # more crowded than shapes

_MORE_PATTERNS = {
    "rings": lambda u, v: np.sin(np.hypot(u, v)),
    "spirals": lambda u, v: np.sin(np.hypot(u, v) + np.arctan2(v, u)),
    "rays": lambda u, v: np.sin(7 * np.arctan2(v, u)),
}
_ORDER = ("stripes", "checks", "dots", "rings", "waves", "bricks", "spirals", "rays")


def scenes(count: int) -> Dataset:
    """`count` scenes of all eight patterns."""
    known = {**shapes.PATTERNS, **_MORE_PATTERNS}
    patterns = {name: known[name] for name in _ORDER}
    spec = DatasetSpec(
        "pretraining", ("ground", *patterns), tuple((i, i, i) for i in range(len(patterns) + 1)), shapes.IGNORED
    )

    def read(example):
        seed = _FIRST_SEED + int(example.name)
        return shapes.render(seed, patterns=tuple(patterns.values()), difficulty=_DIFFICULTY)

    return Dataset(spec, "train", tuple(Example(str(i)) for i in range(count)), read)


def build(num_classes: int) -> keras.Model:
    """VGG19 with batch normalisation, which sixteen layers need to be trained from scratch, under the head of fcn8s."""
    images = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1.0, [-mean for mean in _MEAN_RGB])(images)
    features = {}
    for stage, (count, filters) in enumerate(_STAGES, start=1):
        for index in range(1, count + 1):
            x = keras.layers.Conv2D(
                filters, 3, padding="same", kernel_initializer="he_normal", name=f"conv{stage}_{index}"
            )(x)
            x = keras.layers.BatchNormalization(momentum=0.9, name=f"norm{stage}_{index}")(x)
            x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D(2, padding="same")(x)
        features[f"stride{2**stage}"] = x
    return keras.Model(images, heads.fcn8s(features, images, num_classes=num_classes, dropout_rate=0.0))


def folded(model: keras.Model) -> matconvnet.MatConvNet:
    """The trunk of `build` as plain convolutions: each takes the scale and shift of its normalisation into itself."""
    convs = {}
    for stage, (count, _) in enumerate(_STAGES, start=1):
        for index in range(1, count + 1):
            kernel, bias = model.get_layer(f"conv{stage}_{index}").get_weights()
            norm = model.get_layer(f"norm{stage}_{index}")
            gamma, beta, mean, variance = norm.get_weights()
            scale = gamma / np.sqrt(variance + norm.epsilon)
            convs[f"conv{stage}_{index}"] = matconvnet.ConvWeights(kernel * scale, (bias - mean) * scale + beta)
    return matconvnet.MatConvNet(convs=convs, mean_rgb=np.array(_MEAN_RGB, np.float32))


def train(*, steps: int, batch_size: int, seed: int) -> keras.Model:
    """Trains `build` on scenes none of which is seen twice."""
    data = scenes(steps * batch_size)
    model = build(data.spec.num_classes)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=shapes.IGNORED),
    )
    batches = pipeline.training_batches(
        data,
        batch_size=batch_size,
        image_size=shapes.SIDE,
        seed=seed,
        num_steps=steps,
        augment=pipeline.Augmentation(scales=crops.Scales(1.0, 1.5), jitter=0.3),
    )
    model.fit(batches, epochs=steps // _REPORT, steps_per_epoch=_REPORT, shuffle=False, verbose=2)
    return model


def main():
    """Parses the command line and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", required=True, help="the .mat file to write")
    parser.add_argument("--steps", type=int, default=1000, help=f"a multiple of {_REPORT}")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    keras.utils.set_random_seed(args.seed)
    matconvnet.write(args.output, folded(train(steps=args.steps, batch_size=args.batch_size, seed=args.seed)))
    print(f"{args.output}: {os.path.getsize(args.output):,} bytes")


if __name__ == "__main__":
    main()
