"""Makes fcn_tf/tiny-vgg19.mat: a narrow VGG19 trained on generated pictures, in MatConvNet's beta16 layout.

    python tools/make_tiny_vgg19.py --output=fcn_tf/tiny-vgg19.mat

The network is fcn8s over sixteen narrow convolutions, trained from He-normal weights to segment scenes of twelve
patterns: the six of the data set `shapes` and six others, drawn with seeds that `shapes` never uses. Only the trunk is
kept. What it knows is generated texture: it makes the first command of the README work in a minute, and is no
substitute for the real VGG19 on photographs. The same seed, machine and versions give the same file; --steps=0 gives
an untrained one.
"""

import argparse
import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from fcn_tf import matconvnet, pipeline
from fcn_tf.datasets import shapes
from fcn_tf.datasets.base import Dataset, DatasetSpec, Example
from fcn_tf.model import build_model

_STAGES = ((2, 16), (2, 32), (4, 48), (4, 64), (4, 96))  # (convolutions, filters)
_MEAN_RGB = (127.5, 127.5, 127.5)
_FIRST_SEED = 10_000_000  # shapes uses seeds below

_MORE_PATTERNS = {
    "lattice": lambda u, v: np.maximum(np.cos(u), np.cos(v)) - 0.8,
    "spirals": lambda u, v: np.sin(np.hypot(u, v) + np.arctan2(v, u)),
    "rays": lambda u, v: np.sin(7 * np.arctan2(v, u)),
    "diamonds": lambda u, v: np.abs(np.sin(0.5 * u)) + np.abs(np.sin(0.5 * v)) - 1,
    "blobs": lambda u, v: np.sin(u) * np.sin(0.7 * v + 1.3 * np.sin(0.5 * u)) * 2,
    "zigzag": lambda u, v: np.sin(u + 2 * np.abs(np.mod(v / np.pi, 2) - 1)),
}


def untrained(seed: int) -> matconvnet.MatConvNet:
    """A trunk of He-normal kernels and zero biases."""
    rng = np.random.default_rng(seed)
    convs, channels = {}, 3
    for stage, (count, filters) in enumerate(_STAGES, start=1):
        for index in range(1, count + 1):
            deviation = np.sqrt(2 / (9 * channels))
            kernel = rng.normal(0, deviation, (3, 3, channels, filters)).astype(np.float32)
            convs[f"conv{stage}_{index}"] = matconvnet.ConvWeights(kernel, np.zeros(filters, np.float32))
            channels = filters
    return matconvnet.MatConvNet(convs=convs, mean_rgb=np.array(_MEAN_RGB, np.float32))


def scenes(count: int) -> Dataset:
    """`count` scenes of all twelve patterns."""
    patterns = {**shapes.PATTERNS, **_MORE_PATTERNS}
    spec = DatasetSpec(
        "pretraining", ("ground", *patterns), tuple((i, i, i) for i in range(len(patterns) + 1)), shapes.IGNORED
    )

    def read(example):
        return shapes.render(_FIRST_SEED + int(example.name), patterns=tuple(patterns.values()))

    return Dataset(spec, "train", tuple(Example(str(i)) for i in range(count)), read)


def trained(net: matconvnet.MatConvNet, *, steps: int, batch_size: int, seed: int) -> matconvnet.MatConvNet:
    """Trains the trunk under a head that is then thrown away."""
    data = scenes(steps * batch_size)  # none is seen twice
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "untrained.mat")
        matconvnet.write(path, net)
        model = build_model("fcn8s", num_classes=data.spec.num_classes, weights=path)
    rate = keras.optimizers.schedules.CosineDecay(1e-5, steps, warmup_target=1e-3, warmup_steps=min(100, steps // 4))
    model.compile(
        keras.optimizers.Adam(rate, global_clipnorm=5.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=shapes.IGNORED),
        jit_compile=False,
    )
    batches = pipeline.training_batches(
        data,
        batch_size=batch_size,
        image_size=shapes.SIDE,
        seed=seed,
        num_steps=steps,
        augment=pipeline.Augmentation(min_scale=1.0, max_scale=1.5, jitter=0.3),
    )
    model.fit(batches, epochs=1, steps_per_epoch=steps, verbose=2 if os.environ.get("CI") else 1)
    convs = {name: matconvnet.ConvWeights(*model.get_layer(name).get_weights()) for name in net.convs}
    return matconvnet.MatConvNet(convs=convs, mean_rgb=net.mean_rgb)


def main():
    """Parses the command line and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", required=True, help="the .mat file to write")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    keras.utils.set_random_seed(args.seed)
    net = untrained(args.seed)
    if args.steps:
        net = trained(net, steps=args.steps, batch_size=args.batch_size, seed=args.seed)
    matconvnet.write(args.output, net)
    print(f"{args.output}: {os.path.getsize(args.output):,} bytes")


if __name__ == "__main__":
    main()
