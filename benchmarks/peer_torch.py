"""FCN-8s in PyTorch, written from the paper (Long et al. 2015, section 4), as a contender. No TensorFlow.

VGG19 with max pooling up to pool5, its classifier as convolutions of 7x7 and 1x1 with dropout, scores of it, pool4 and
pool3 by 1x1 convolutions that start at zero, added through learned 2x enlargement that starts bilinear, and 8x at the
end. Borders are padded as TensorFlow's "SAME" pads them, instead of the paper's 100 pixels, so that all contenders do
the same work; sides of pictures are multiples of 32. Eager, channels last and with the fused Adam: what PyTorch itself
recommends on CPUs.
"""

import numpy as np
import torch
from torch import nn

from benchmarks.learner import Learner
from benchmarks.stepper import Stepper
from fcn_tf.models import pretrained

_IGNORED = -100  # a label that PyTorch's cross-entropy leaves out
_STAGES = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))  # VGG19: (convolutions, filters)


class Fcn8s(nn.Module):
    """(B, 3, H, W) RGB in [0, 255] -> logits (B, classes, H, W).

    Args:
      num_classes: channels of the logits.
      dropout: after both hidden layers.
      stages: (convolutions, filters) of each stage of the trunk.
    """

    def __init__(self, num_classes: int, *, dropout: float = 0.15, stages=_STAGES):
        super().__init__()
        self.stages, channels = nn.ModuleList(), 3
        for count, filters in stages:
            convs: list[nn.Module] = []
            for _ in range(count):
                convs += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(inplace=True)]
                channels = filters
            self.stages.append(nn.Sequential(*convs, nn.MaxPool2d(2)))
        hidden = 8 * channels
        self.classifier = nn.Sequential(
            nn.Conv2d(channels, hidden, 7, padding=3), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Conv2d(hidden, hidden, 1), nn.ReLU(inplace=True), nn.Dropout(dropout),
        )  # fmt: skip
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        widths = [filters for _, filters in stages]
        self.scores = nn.ModuleList(nn.Conv2d(width, num_classes, 1) for width in (hidden, widths[3], widths[2]))
        self.enlarge = nn.ModuleList(_enlarge(num_classes, stride) for stride in (2, 2, 8))
        for layer in self.scores:
            nn.init.zeros_(layer.weight)
        self.register_buffer("mean", torch.tensor([123.68, 116.779, 103.939]).reshape(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Scores every class at every pixel."""
        x = images - self.mean
        pools: list[torch.Tensor] = []
        for stage in self.stages:
            x = stage(x)
            pools.append(x)
        x = self.scores[0](self.classifier(x))
        x = self.enlarge[0](x) + self.scores[1](pools[3])
        x = self.enlarge[1](x) + self.scores[2](pools[2])
        return self.enlarge[2](x)


class Torch(Stepper):
    """Training steps on one batch of noise.

    Args:
      num_classes, image_size, batch_size: as in train_step.py.
      precision: "float32", or "bfloat16" by autocast with float32 weights.
      stages: of the trunk.
    """

    def __init__(self, *, num_classes: int, image_size: int, batch_size: int, precision: str, stages=_STAGES):
        torch.manual_seed(0)
        self._model = Fcn8s(num_classes, stages=stages).to(memory_format=torch.channels_last)
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=1e-4, fused=True)
        shape = (batch_size, 3, image_size, image_size)
        self._images = torch.randint(0, 256, shape).float().to(memory_format=torch.channels_last)
        self._labels = torch.randint(0, num_classes, (batch_size, image_size, image_size))
        self._narrow = precision == "bfloat16"

    def losses(self, count: int) -> list[float]:
        """Takes `count` steps; the loss before each."""
        found = []
        for _ in range(count):
            self._optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=self._narrow):
                logits = self._model(self._images)
            loss = nn.functional.cross_entropy(logits.float(), self._labels)
            loss.backward()
            self._optimizer.step()
            found.append(loss.item())
        return found

    def version(self) -> str:
        """Of PyTorch."""
        return torch.__version__


class TorchLearner(Learner):
    """FCN-8s from a file of VGG weights, by PyTorch's fused Adam.

    Args:
      folder, num_classes, batch_size: see `Learner`.
      weights: MatConvNet file; a classifier in it is not used, as not all have one.
      learning_rate: of all layers.
    """

    def __init__(self, *, folder: str, num_classes: int, batch_size: int, weights: str, learning_rate: float = 1e-4):
        super().__init__(folder=folder, num_classes=num_classes, batch_size=batch_size)
        torch.manual_seed(0)
        net, _ = pretrained.read(weights, "")
        convs = {name: conv for name, conv in net.convs.items() if name.startswith("conv")}
        numbers = [int(name.removeprefix("conv").split("_")[0]) for name in convs]
        widths = [conv.kernel.shape[3] for conv in convs.values()]
        stages = [(numbers.count(stage), widths[numbers.index(stage)]) for stage in sorted(set(numbers))]
        model = Fcn8s(num_classes, stages=stages)
        layers = [layer for layer in model.stages.modules() if isinstance(layer, nn.Conv2d)]
        with torch.no_grad():
            for layer, conv in zip(layers, convs.values(), strict=True):
                layer.weight.copy_(torch.from_numpy(conv.kernel.transpose(3, 2, 0, 1).copy()))
                layer.bias.copy_(torch.from_numpy(conv.bias.copy()))
            model.mean.copy_(torch.tensor(np.asarray(net.mean_rgb)).reshape(1, 3, 1, 1))
        self._model = model.to(memory_format=torch.channels_last)
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=learning_rate, fused=True)

    def _step(self, images, labels, number):
        self._optimizer.zero_grad()
        truth = torch.from_numpy(np.where(labels < self._num_classes, labels.astype(np.int64), _IGNORED))
        loss = nn.functional.cross_entropy(self._model(_tensor(images)), truth)
        loss.backward()
        self._optimizer.step()
        return loss.item()

    def _predict(self, images):
        self._model.eval()
        with torch.no_grad():
            found = self._model(_tensor(images)).argmax(1).numpy()
        self._model.train()
        return found

    def _state(self):
        moments = [entry[name] for entry in self._moments() for name in ("exp_avg", "exp_avg_sq", "step")]
        return [part.detach().numpy() for part in [*self._model.parameters(), *moments]]

    def _restore(self, state):
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        self._optimizer.step()  # makes its state; whatever it does to the weights, they are replaced
        moments = [entry[name] for entry in self._moments() for name in ("exp_avg", "exp_avg_sq", "step")]
        with torch.no_grad():
            for part, value in zip([*self._model.parameters(), *moments], state, strict=True):
                part.copy_(torch.from_numpy(value))

    def _moments(self):
        """A dictionary for each parameter."""
        return [self._optimizer.state[parameter] for parameter in self._model.parameters()]


def _tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32)).contiguous(
        memory_format=torch.channels_last
    )


def _enlarge(channels: int, stride: int) -> nn.ConvTranspose2d:
    """A learned enlargement by `stride` that starts as the bilinear one."""
    side = 2 * stride
    layer = nn.ConvTranspose2d(channels, channels, side, stride=stride, padding=stride // 2)
    ramp = 1 - (torch.arange(side) - (side - 1) / 2).abs() / stride
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[range(channels), range(channels)] = ramp[:, None] * ramp[None, :]
        layer.bias.zero_()
    return layer
