"""Writes tiny MatConvNet .mat files of both layouts, by other means than fcn_tf.models.matconvnet.write."""

import numpy as np
import scipy.io

STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
MEAN_RGB = (123.5, 116.75, 104.25)


def vgg_convs(depth=19, widths=(2, 3, 4, 5, 6), *, hidden=None, seed=0, scale=None):
    """{name: (kernel (h, w, in, out), bias (out,))} of a VGG with `widths` channels a stage.

    `hidden` adds fc6 (7x7) and fc7 (1x1) of that width. Kernels are He-normal, or N(0, scale).
    """
    rng = np.random.default_rng(seed)
    shapes = {}
    channels = 3
    for stage, (count, width) in enumerate(zip(STAGES[depth], widths, strict=True), 1):
        for i in range(1, count + 1):
            shapes[f"conv{stage}_{i}"] = (3, 3, channels, width)
            channels = width
    if hidden is not None:
        shapes |= {"fc6": (7, 7, channels, hidden), "fc7": (1, 1, hidden, hidden)}
    convs = {}
    for name, shape in shapes.items():
        std = np.sqrt(2 / np.prod(shape[:3])) if scale is None else scale
        kernel = rng.normal(0, std, shape).astype(np.float32)
        convs[name] = kernel, rng.normal(0, 0.1, shape[3:]).astype(np.float32)
    return convs


def write_mat(path, convs, *, mean=MEAN_RGB, layout="beta16", others=(), compress=False):
    """Writes `convs`, in their order, each with a ReLU after it, then the layers `others`; returns the path.

    beta16 puts `weights` first, biases as (1, n) and the mean as a picture under `normalization`; newer has
    `name` first, further fields, biases as (n, 1) and the mean as (1, 1, 3) under `meta`. `mean=None` leaves
    it out; an array is stored as it is.
    """
    newer = layout == "newer"
    layers = []
    for name, (kernel, bias) in convs.items():
        bias = np.asarray(bias)
        weights = cell([kernel, bias.reshape(-1, 1) if newer else bias.reshape(1, -1)])
        common = {"pad": np.ones((1, 4)), "type": "conv", "name": name, "stride": np.ones((1, 2))}
        first = {"name": name, "type": "conv", "precious": 0.0} if newer else {}
        layers.append(first | {"weights": weights} | common)
        layers.append({"type": "relu", "name": "relu" + name.removeprefix("conv").removeprefix("fc")})
    normalization = {"interpolation": "bilinear"}
    if isinstance(mean, np.ndarray):
        normalization["averageImage"] = mean
    elif mean is not None:
        normalization["averageImage"] = np.broadcast_to(mean, (1, 1, 3) if newer else (4, 4, 3)).astype(float)
    contents = {"layers": cell([*layers, *others])}
    contents |= {"meta": {"normalization": normalization}} if newer else {"normalization": normalization}
    scipy.io.savemat(path, contents, do_compression=compress)
    return str(path)


def cell(values):
    """A 1xN MATLAB cell."""
    array = np.empty((1, len(values)), object)
    for i, value in enumerate(values):
        array[0, i] = value
    return array


# As MatConvNet stores them: channels, bias, alpha, beta.
ALEXNET_NORMALIZATIONS = {"norm1": (5.0, 1.0, 2e-5, 0.75), "norm2": (3.0, 2.0, 1e-3, 0.5)}


def alexnet_convs(*, hidden=None, seed=0):
    """{name: (kernel, bias)} of a narrow AlexNet: conv2, conv4 and conv5 in two groups of channels each."""
    rng = np.random.default_rng(seed)
    shapes = {
        "conv1": (11, 11, 3, 4),
        "conv2": (5, 5, 2, 6),
        "conv3": (3, 3, 6, 8),
        "conv4": (3, 3, 4, 8),
        "conv5": (3, 3, 4, 6),
    }
    if hidden is not None:
        shapes |= {"fc6": (6, 6, 6, hidden), "fc7": (1, 1, hidden, hidden)}
    return {
        name: (
            rng.normal(0, np.sqrt(2 / np.prod(shape[:3])), shape).astype(np.float32),
            rng.normal(0, 0.1, shape[3:]).astype(np.float32),
        )
        for name, shape in shapes.items()
    }


def write_alexnet(path, convs, *, kind="lrn", **options):
    """Writes an AlexNet, its normalisations under `kind`: "lrn", or "normalize" as older files say."""
    norms = [
        {"name": name, "type": kind, "param": np.array([values])} for name, values in ALEXNET_NORMALIZATIONS.items()
    ]
    return write_mat(path, convs, others=norms, **options)
