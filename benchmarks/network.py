"""The original network as data: its layers, and how many multiply-adds they take. No TensorFlow."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fcn_tf.models import matconvnet

_STAGES = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))  # VGG19: (convolutions, filters)


@dataclass(frozen=True)
class Layer:
    """One convolution.

    Attributes:
      name: as in the model.
      kernel: its shape, (h, w, in, out); (h, w, out, in) of a transposed one.
      stride: the kernel is applied once at every pixel of a map this many times smaller than the picture.
    """

    name: str
    kernel: tuple[int, int, int, int]
    stride: int

    @property
    def filters(self) -> int:
        """Channels of the result, and numbers in the bias."""
        return self.kernel[2 if self.name.startswith("conv_t") else 3]


def original_layers(widths: Mapping[str, int], num_classes: int) -> list[Layer]:
    """The convolutions that the logits of the original network depend on, in order.

    Args:
      widths: {"conv1_1": 64, ...}, output channels of the trunk; conv5_4 may be there and is left out, as the
        original feeds its head from conv5_3.
      num_classes: channels of the logits.
    """
    layers: list[Layer] = []
    channels = 3
    for name, width in widths.items():
        if name <= "conv5_3":
            layers.append(Layer(name, (3, 3, channels, width), 2 ** (int(name[4]) - 1)))
            channels = width
    third, fourth = (max(name for name in widths if name.startswith(f"conv{stage}_")) for stage in (3, 4))
    pool3, pool4, hidden = widths[third], widths[fourth], 8 * channels
    return [
        *layers,
        Layer("conv6", (7, 7, channels, hidden), 32),
        Layer("conv7", (1, 1, hidden, hidden), 32),
        Layer("conv8", (1, 1, hidden, num_classes), 32),
        Layer("conv_t1", (4, 4, pool4, num_classes), 32),
        Layer("conv_t2", (4, 4, pool3, pool4), 16),
        Layer("conv_t3", (16, 16, num_classes, pool3), 8),
    ]


def trunk_widths(net: matconvnet.MatConvNet) -> dict[str, int]:
    """{"conv1_1": 64, ...} of a MatConvNet file."""
    return {name: conv.kernel.shape[3] for name, conv in net.convs.items() if name.startswith("conv")}


def parameters(layers: list[Layer]) -> int:
    """Kernels and biases."""
    return sum(math.prod(layer.kernel) + layer.filters for layer in layers)


def forward_multiply_adds(layers: list[Layer], image_size: int) -> int:
    """Of one square picture: a kernel's size times the pixels it is applied at, borders counted as full."""
    return sum(_multiply_adds(layer, image_size) for layer in layers)


def training_flops(layers: list[Layer], image_size: int, batch_size: int) -> int:
    """Floating point operations of one training step: two a multiply-add.

    Three times the forward pass, for the gradients to weights and to inputs cost as much each; but the first layer
    needs none to its input. Everything else (pooling, ReLU, loss, Adam) counts nothing though its time counts: what
    is measured against this is the work that cannot be avoided.
    """
    total = 3 * forward_multiply_adds(layers, image_size) - _multiply_adds(layers[0], image_size)
    return 2 * batch_size * total


def write_random_vgg19(path: str, seed: int = 0) -> None:
    """Writes an untrained VGG19 of full width (He et al. 2015), for rates that do not depend on the weights."""
    rng = np.random.default_rng(seed)
    convs: dict[str, matconvnet.ConvWeights] = {}
    channels = 3
    for stage, (count, filters) in enumerate(_STAGES, 1):
        for index in range(1, count + 1):
            kernel = rng.standard_normal((3, 3, channels, filters), np.float32) * np.float32(
                math.sqrt(2 / 9 / channels)
            )
            convs[f"conv{stage}_{index}"] = matconvnet.ConvWeights(kernel, np.zeros(filters, np.float32))
            channels = filters
    matconvnet.write(path, matconvnet.MatConvNet(convs, np.array([123.68, 116.779, 103.939], np.float32)))


def _multiply_adds(layer: Layer, image_size: int) -> int:
    return math.prod(layer.kernel) * math.ceil(image_size / layer.stride) ** 2
