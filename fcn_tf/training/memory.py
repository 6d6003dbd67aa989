"""How much memory a training step will take, and what would make it take less.

A prediction from shapes, not a measurement: what is counted is written down at `activation_bytes` and `peak_bytes`.
"""

import bisect
import dataclasses
import functools
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import keras
import tensorflow as tf

from fcn_tf.data import crops
from fcn_tf.models import cpu, remat
from fcn_tf.models.build import Network

_PROCESS = 700_000_000  # bytes: Python, TensorFlow, its threads and graphs, pictures read ahead
# Measured on a CPU with fcn8s at full width (140 M parameters; conv6's kernel takes 411 MB), four crops of 224x224:
# step by step the process grew by about that kernel's size, to 4.9 GB in one run and 5.2 in another in four steps.
_COPIES = 4
_IN_FLIGHT = 3  # tensors of the largest size while gradients flow: one coming, one going, one to work with
_GRAIN = 32  # pixels: crops of other sizes than multiples of the coarsest stride are wasteful


@dataclass(frozen=True)
class Plan:
    """What decides how much memory a step takes.

    Attributes:
      batch_size: images of one replica.
      image_size: of the crop: (height, width), or the side of a square.
      accumulate: in how many parts the batch is computed.
      recompute: whether the trunk's activations are rematerialised (models/remat.py).
      averaged: whether a moving average of the weights is kept.
    """

    batch_size: int
    image_size: int | crops.Size
    accumulate: int = 1
    recompute: bool = False
    averaged: bool = False


def activation_bytes(network: Network, image_size: int | crops.Size, *, recompute: bool = False) -> int:
    """What one image of a batch holds at the worst moment of a step.

    That is the output of every layer, kept for the backward pass, but of those before a ReLU, which works in
    place; the patches of convolutions that are computed as products (models/cpu.py); and a few tensors of the largest
    size, in flight. Of the trunk below what its first learning layer looks at nothing is kept but the ends of stages.
    With `recompute` that is so for all of the trunk, and the inside of one stage at a time is added.

    Args:
      network: from `build_network`.
      image_size: as in `Plan`.
      recompute: see `Plan`.
    """
    model = network.model
    shown = keras.Model(model.input, {layer.name: layer.output for layer in model.layers})
    images = keras.KerasTensor((1, *crops.as_size(image_size), 3), model.input.dtype)
    outputs = shown.compute_output_spec(images)
    sizes = {name: math.prod(x.shape) * tf.as_dtype(x.dtype).size for name, x in outputs.items()}
    rectified = {
        before.operation.name
        for layer in model.layers
        if isinstance(layer, keras.layers.ReLU)
        for node in layer._inbound_nodes
        for before in node.parent_nodes
    }
    kept = {name: 0 if name in rectified else size for name, size in sizes.items()}
    for layer in model.layers:
        if patch := cpu.patch_size(layer):
            kept[layer.name] += sizes[layer.name] // layer.filters * patch
    insides = [names[:-1] for names in remat.chains(model, network.stages.values())]
    trunk = [model.get_layer(name) for names in network.stages.values() for name in names]
    first = next((i for i, layer in enumerate(trunk) if layer.trainable_variables), len(trunk))
    below = {layer.name for layer in trunk[: max(first - 1, 0)]}  # but what that layer looks at
    kept |= {name: 0 for names in insides for name in names if name in below}
    if recompute:
        kept["stage computed again"] = max(sum(kept.pop(name) for name in names) for names in insides)
    return sum(kept.values()) + _IN_FLIGHT * max(sizes.values())


def peak_bytes(network: Network, plan: Plan) -> int:
    """What the process holds at the worst moment of a step, on one device.

    Besides activations: four bytes each for every parameter, and for those that learn a gradient and Adam's two
    moments, where there is one their average, and where parts are added up, the sum beside the gradient of a part; and
    copies of the largest variable.
    """
    return _peak(network, plan, activation_bytes(network, plan.image_size, recompute=plan.recompute))


def _peak(network, plan, activations):
    """`peak_bytes` where `activation_bytes` are known."""
    every, trained = (
        sum(math.prod(variable.shape) for variable in variables)
        for variables in (network.model.variables, network.model.trainable_variables)
    )
    largest = max((math.prod(variable.shape) for variable in network.model.trainable_variables), default=0)
    state = 4 * (every + (3 + (plan.accumulate > 1) + plan.averaged) * trained + _COPIES * largest)
    part = plan.batch_size // plan.accumulate
    return _PROCESS + state + part * activations


def report(
    network: Network, plan: Plan, available: int | None, *, replicas: int = 1, excluded: Collection[str] = ()
) -> str:
    """One line: what a step will take, and, where that is more than there is, what would do.

    Args:
      network: from `build_network`.
      plan: of each replica.
      available: bytes that one replica may take, or None where nobody knows.
      replicas: how many share a batch.
      excluded: flags that cannot be changed.
    """
    need = peak_bytes(network, plan)
    line = f"memory: about {need / 1e9:.1f} GB at the peak of a step{' on each replica' if replicas > 1 else ''}"
    if available is None:
        return line
    line += f", {available / 1e9:.1f} GB are available"
    if need <= available:
        return line
    options = savings(network, plan, available, replicas=replicas, excluded=excluded)
    if not options:
        where = "; in another --logs_dir" if excluded else ":"
        frozen = not any(network.model.get_layer(name).trainable_variables for name in network.trunk)
        less = "narrower --weights take" if frozen else "--freeze=trunk or narrower --weights take"
        return f"{line}; exceeds the available memory, and no flag that may change is enough{where} {less} less"
    return f"{line}; exceeds the available memory; try {' or '.join(options)}"


def savings(
    network: Network, plan: Plan, available: int, *, replicas: int = 1, excluded: Collection[str] = ()
) -> list[str]:
    """Flags each of which alone would bring a step into `available` bytes, with the mildest value of each.

    Returns:
      Such as ["--batch_size=4", "--recompute"]; --accumulate and --recompute together where neither does alone; empty
      if nothing would do. The arguments are those of `report`.
    """
    found: dict[str, str] = {}
    activations = functools.cache(functools.partial(activation_bytes, network))  # of many plans they are the same

    def fits(smaller: Plan) -> bool:
        return _peak(network, smaller, activations(smaller.image_size, recompute=smaller.recompute)) <= available

    for names, text, smaller in _smaller(plan, replicas):
        alone = "+".join(names)
        if alone not in found and not {*names} & {*excluded} and not (len(names) > 1 and {*names} & {*found}):
            if fits(smaller):
                found[alone] = text
    if "image_size" not in excluded and (cropped := _smaller_crop(plan, fits)) is not None:
        found["image_size"] = f"--image_size={crops.format_size(cropped.image_size)}"
    return list(found.values())


def _smaller(plan: Plan, replicas: int) -> Iterator[tuple[tuple[str, ...], str, Plan]]:
    """(flags, how they are typed, the plan with them), for each flag from the mildest value on."""
    for parts in range(plan.accumulate + 1, plan.batch_size + 1):
        if plan.batch_size % parts == 0:
            yield ("accumulate",), f"--accumulate={parts}", dataclasses.replace(plan, accumulate=parts)
    if not plan.recompute:
        yield ("recompute",), "--recompute", dataclasses.replace(plan, recompute=True)
        one_by_one = dataclasses.replace(plan, recompute=True, accumulate=plan.batch_size)
        yield ("accumulate", "recompute"), f"--accumulate={plan.batch_size} --recompute", one_by_one
    for batch in range(plan.batch_size - plan.accumulate, 0, -plan.accumulate):
        yield ("batch_size",), f"--batch_size={batch * replicas}", dataclasses.replace(plan, batch_size=batch)


def _smaller_crop(plan: Plan, fits: Callable[[Plan], bool]) -> Plan | None:
    """The plan with the largest smaller crop that fits, by bisection; None where none does."""
    height, width = crops.as_size(plan.image_size)

    def cropped(cells: int) -> Plan:
        smaller = cells * _GRAIN
        size = smaller, max(_GRAIN, round(width * smaller / height / _GRAIN) * _GRAIN)
        return dataclasses.replace(plan, image_size=size)

    cells = bisect.bisect_left(range(1, (height - 1) // _GRAIN + 1), True, key=lambda cells: not fits(cropped(cells)))
    return cropped(cells) if cells else None
