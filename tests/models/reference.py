"""The networks in plain NumPy, written from the papers and the published graph, and the logits they come to.

    python -m tests.models.reference

writes reference.npz beside this file: a photo of odd height and width, and for each arch the float32 logits of the
embedded trunk under new layers drawn by `new_weights`. Everything is computed in float64.
"""

import pathlib
from collections.abc import Iterable

import numpy as np

from fcn_tf.models import matconvnet, pretrained

FILE = pathlib.Path(__file__).parent / "reference.npz"
CLASSES = 4
SIZE = (37, 45)


def new_weights(names_and_shapes: Iterable[tuple[str, list[tuple[int, ...]]]]) -> dict[str, list[np.ndarray]]:
    """Random weights of layers above the trunk, in order: activations keep about their size from layer to layer."""
    rng = np.random.default_rng(0)
    drawn: dict[str, list[np.ndarray]] = {}
    for name, shapes in names_and_shapes:
        drawn[name] = []
        for shape in shapes:
            inputs = np.prod(shape) / shape[-1] if len(shape) > 1 else 100
            values = rng.standard_normal(shape) * np.sqrt(2 / inputs) + (name.startswith("norm_"))
            drawn[name].append(values.astype(np.float32))
    return drawn


def shapes(arch: str, widths: dict[str, int]) -> list[tuple[str, list[tuple[int, ...]]]]:
    """(name, shapes of its weights) of each layer above a trunk with these numbers of filters by layer."""
    pool3, pool4, pool5 = (max(f for name, f in widths.items() if name.startswith(f"conv{i}")) for i in (3, 4, 5))
    hidden = 8 * pool5
    found: list[tuple[str, list[tuple[int, ...]]]] = [
        ("conv6", [(7, 7, pool5, hidden), (hidden,)]),
        ("conv7", [(1, 1, hidden, hidden), (hidden,)]),
        ("conv8", [(1, 1, hidden, CLASSES), (CLASSES,)]),
    ]
    first, second = (pool4, pool3) if arch == "original" else (CLASSES, CLASSES)
    found += [
        ("conv_t1", [(4, 4, first, CLASSES), (first,)]),
        ("conv_t2", [(4, 4, second, first), (second,)]),
        ("conv_t3", [(16, 16, CLASSES, second), (CLASSES,)]),
    ]
    if arch == "fcn8s":
        found += [(f"norm_pool{i}", [(f,)]) for i, f in ((3, pool3), (4, pool4), (5, pool5))]
        found += [(f"score_pool{i}", [(1, 1, f, CLASSES), (CLASSES,)]) for i, f in ((3, pool3), (4, pool4))]
    return found


def original(image: np.ndarray, net: matconvnet.MatConvNet, new: dict[str, list[np.ndarray]]) -> np.ndarray:
    """FCN.tensorflow: mirrored kernels, average pooling, conv5_3 without its ReLU, raw skips; (H, W, 3) -> logits."""
    x, pools = image - np.float64(net.mean_rgb), {}
    for name in _trunk(net, last="conv5_3"):
        if name.endswith("_1") and name != "conv1_1":
            pools[int(name[4]) - 1] = x = _pool(x, np.nanmean)
        x = _conv(x, net.convs[name].kernel.transpose(1, 0, 2, 3), net.convs[name].bias)
        x = x if name == "conv5_3" else np.maximum(x, 0)
    x = _pool(x, np.nanmax)
    x = np.maximum(_conv(x, *new["conv6"]), 0)
    x = np.maximum(_conv(x, *new["conv7"]), 0)
    x = _conv(x, *new["conv8"])
    x = _transposed(x, *new["conv_t1"], stride=2, like=pools[4]) + pools[4]
    x = _transposed(x, *new["conv_t2"], stride=2, like=pools[3]) + pools[3]
    return _transposed(x, *new["conv_t3"], stride=8, like=image)


def fcn8s(image: np.ndarray, net: matconvnet.MatConvNet, new: dict[str, list[np.ndarray]]) -> np.ndarray:
    """FCN-8s (Long et al. 2015) with skips divided by the root mean square of each pixel; (H, W, 3) -> logits."""
    x, pools = image - np.float64(net.mean_rgb), {}
    for name in _trunk(net):
        if name.endswith("_1") and name != "conv1_1":
            pools[int(name[4]) - 1] = x = _pool(x, np.nanmax)
        x = np.maximum(_conv(x, net.convs[name].kernel, net.convs[name].bias), 0)
    x = _normalized(_pool(x, np.nanmax), *new["norm_pool5"])
    x = np.maximum(_conv(x, *new["conv6"]), 0)
    x = np.maximum(_conv(x, *new["conv7"]), 0)
    x = _conv(x, *new["conv8"])
    for number, name in ((4, "conv_t1"), (3, "conv_t2")):
        skip = _conv(_normalized(pools[number], *new[f"norm_pool{number}"]), *new[f"score_pool{number}"])
        x = _transposed(x, *new[name], stride=2, like=skip) + skip
    return _transposed(x, *new["conv_t3"], stride=8, like=image)


ARCHS = {"original": original, "fcn8s": fcn8s}


def _trunk(net, last="conv5_9"):
    return [name for name in net.convs if name.startswith("conv") and name <= last]


def _conv(x, kernel, bias):
    """Stride 1, zeros around: (H, W, C), (k, k, C, F) -> (H, W, F)."""
    side = kernel.shape[0]
    before = (side - 1) // 2
    padded = np.pad(x, [(before, side - 1 - before)] * 2 + [(0, 0)])
    height, width, _ = x.shape
    result = np.zeros((height, width, kernel.shape[3])) + bias
    for i in range(side):
        for j in range(side):
            result += padded[i : i + height, j : j + width] @ kernel[i, j].astype(np.float64)
    return result


def _pool(x, reduce):
    """Of 2 x 2 pixels, of fewer at odd borders: (H, W, C) -> (ceil(H / 2), ceil(W / 2), C)."""
    height, width, channels = x.shape
    padded = np.pad(x, [(0, height % 2), (0, width % 2), (0, 0)], constant_values=np.nan)
    return reduce(padded.reshape((height + 1) // 2, 2, (width + 1) // 2, 2, channels), axis=(1, 3))


def _transposed(x, kernel, bias, *, stride, like):
    """Each pixel spreads a kernel (k, k, F, C); of the sum as much is cut above as below: (h, w, C) -> (H, W, F)."""
    side, (rows, columns, _), (height, width, _) = kernel.shape[0], x.shape, like.shape
    spread = np.zeros(((rows - 1) * stride + side, (columns - 1) * stride + side, kernel.shape[2]))
    for i in range(side):
        for j in range(side):
            spread[i : i + rows * stride : stride, j : j + columns * stride : stride] += x @ np.float64(kernel[i, j]).T
    top, left = (spread.shape[0] - height) // 2, (spread.shape[1] - width) // 2
    return spread[top : top + height, left : left + width] + bias


def _normalized(x, gain):
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6) * gain


def logits(arch: str, image: np.ndarray) -> np.ndarray:
    """Float64 (H, W, CLASSES) of a uint8 (H, W, 3) photo."""
    net = matconvnet.read(pretrained.embedded())
    widths = {name: net.convs[name].kernel.shape[3] for name in _trunk(net)}
    return ARCHS[arch](image.astype(np.float64), net, new_weights(shapes(arch, widths)))


def photo() -> np.ndarray:
    """uint8 (37, 45, 3): smooth colours and some noise."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    waves = [np.sin(rows / 5), np.cos(columns / 7), np.sin((rows + columns) / 9)]
    return np.clip(128 + 90 * np.stack(waves, axis=-1) + rng.normal(0, 15, (*SIZE, 3)), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    arrays = {arch: logits(arch, photo()).astype(np.float32) for arch in ARCHS}
    np.savez_compressed(FILE, allow_pickle=False, image=photo(), **arrays)
