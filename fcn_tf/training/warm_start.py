"""Starts a training from a trained model (`--init_from`), also of another arch or with other classes."""

from collections.abc import Callable, Collection

import keras

from fcn_tf.errors import UserError
from fcn_tf.models import weights_table
from fcn_tf.models.weights_table import Row


def load(
    model: keras.Model, trained: keras.Model, *, name: str, score_layers: Collection[str] = (), why: str = ""
) -> list[Row]:
    """Loads every layer of `model` that has a namesake of the same shapes in `trained`.

    Where the two scale a skip otherwise, the kernel that scores it is scaled so that the scores stay.

    Args:
      model: whose weights are replaced.
      trained: stays as it is.
      name: of `trained`, for an error.
      score_layers: layers that are not to be loaded even if they fit.
      why: the reason for that.

    Returns:
      What became of each layer, with the shape of its first weight: those of `model`, "loaded" or "new", and "skipped"
      ones of `trained` that have no counterpart.

    Raises:
      UserError: if no layer fits.
    """
    sources = {layer.name: layer for layer in trained.layers if layer.weights}
    rows = []
    for layer in model.layers:
        if not layer.weights:
            continue
        here, there = _shapes(layer), _shapes(sources[layer.name]) if layer.name in sources else None
        action, note = "new", why
        if there is None:
            note = "not there"
        elif here != there:
            note = f"{_text(*here)}, {_text(*there)} there"
        elif layer.name not in score_layers:
            weights = sources[layer.name].get_weights()
            scale, was = (weights_table.skip_scale(each, layer.name) for each in (model, trained))
            if scale != was:
                weights[0] = weights[0] * (was / scale)
            layer.set_weights(weights)
            action, note = "loaded", ""
        rows.append(Row(layer.name, here[0], action, note))
    if all(row.action == "new" for row in rows):
        raise UserError(
            f"--init_from={name} has no layer that fits this network: {rows[0].variable} ({rows[0].note}); give the "
            "--arch and the --weights it was trained with, whose widths decide, or leave --init_from out."
        )
    left = sources.keys() - {row.variable for row in rows}
    skipped = [
        Row(layer, _shapes(source)[0], "skipped", "not here") for layer, source in sources.items() if layer in left
    ]
    return [*rows, *skipped]


def score_layers(build: Callable[[int], keras.Model]) -> frozenset[str]:
    """The layers whose shape depends on the number of classes.

    Args:
      build: makes the network for so many classes; it may be narrower than the one that is asked about.
    """
    shapes = [{layer.name: _shapes(layer) for layer in build(classes).layers if layer.weights} for classes in (2, 3)]
    return frozenset(name for name, each in shapes[0].items() if shapes[1].get(name) != each)


def _shapes(layer: keras.layers.Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]


def _text(*shapes: tuple[int, ...]) -> str:
    return " + ".join("x".join(map(str, shape)) for shape in shapes)
