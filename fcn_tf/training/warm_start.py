"""Starts a training from a trained model (`--init_from`), also of another arch or with other classes."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

import keras

from fcn_tf.errors import UserError
from fcn_tf.models import weights_table

Shape = tuple[int, ...]


@dataclass
class WarmStart:
    """What was loaded.

    Attributes:
      loaded: {layer: shape of its first weight}.
      new: {layer that stays as it was built: why}.
      unused: {layer of the trained model that has no counterpart: shape of its first weight}.
    """

    loaded: dict[str, Shape] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict)
    unused: dict[str, Shape] = field(default_factory=dict)

    def lines(self, name: str) -> Iterator[str]:
        """What was loaded from `name` and what was not, a line each."""
        yield f"loaded from {name}: {_list(self.loaded)}"
        if self.new:
            yield f"not loaded: {', '.join(f'{layer} ({why})' for layer, why in self.new.items())}"
        if self.unused:
            yield f"left there: {_list(self.unused)}"


def load(
    model: keras.Model, trained: keras.Model, *, name: str, score_layers: Collection[str] = (), why: str = ""
) -> WarmStart:
    """Loads every layer of `model` that has a namesake of the same shapes in `trained`.

    Where the two scale a skip otherwise, the kernel that scores it is scaled so that the scores stay.

    Args:
      model: whose weights are replaced.
      trained: stays as it is.
      name: of `trained`, for an error.
      score_layers: layers that are not to be loaded even if they fit.
      why: the reason for that.

    Raises:
      UserError: if no layer fits.
    """
    sources = {layer.name: layer for layer in trained.layers if layer.weights}
    found = WarmStart(unused={layer: _shapes(source)[0] for layer, source in sources.items()})
    for layer in model.layers:
        if not layer.weights:
            continue
        here, there = _shapes(layer), _shapes(sources[layer.name]) if layer.name in sources else None
        found.unused.pop(layer.name, None)
        if there is None:
            found.new[layer.name] = f"{_text(here[0])}, not there"
        elif here != there:
            found.new[layer.name] = f"{_text(*here)}, {_text(*there)} there"
        elif layer.name in score_layers:
            found.new[layer.name] = f"{_text(here[0])}, {why}"
        else:
            weights = sources[layer.name].get_weights()
            scale, was = (weights_table.skip_scale(each, layer.name) for each in (model, trained))
            if scale != was:
                weights[0] = weights[0] * (was / scale)
            layer.set_weights(weights)
            found.loaded[layer.name] = here[0]
    if not found.loaded:
        layer, reason = next(iter(found.new.items()))
        raise UserError(
            f"--init_from={name} has no layer that fits this network: {layer} ({reason}); give the --arch and "
            "the --weights it was trained with, whose widths decide, or leave --init_from out."
        )
    return found


def score_layers(build: Callable[[int], keras.Model]) -> frozenset[str]:
    """The layers whose shape depends on the number of classes.

    Args:
      build: makes the network for so many classes; it may be narrower than the one that is asked about.
    """
    shapes = [{layer.name: _shapes(layer) for layer in build(classes).layers if layer.weights} for classes in (2, 3)]
    return frozenset(name for name, each in shapes[0].items() if shapes[1].get(name) != each)


def _shapes(layer: keras.layers.Layer) -> list[Shape]:
    return [tuple(weight.shape) for weight in layer.weights]


def _list(shapes: dict[str, Shape]) -> str:
    return ", ".join(f"{layer} {_text(shape)}" for layer, shape in shapes.items())


def _text(*shapes: Shape) -> str:
    return " + ".join("x".join(map(str, shape)) for shape in shapes)
