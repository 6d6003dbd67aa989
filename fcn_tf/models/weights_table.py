"""Files of whole trained networks: what they have for a head, and what became of each array. No TensorFlow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

OPTIMIZER = "of the optimiser"


@dataclass(frozen=True)
class TrainedHead:
    """Weights of a head that came in the file of a trunk.

    Attributes:
      weights: of the head's layers, by name; those that score skips take them unscaled.
      source: whose network it is.
      archs: the values of `--arch` whose layers these are.
      transposed: whether the trunk was trained with height and width of its kernels swapped.
    """

    weights: Mapping[str, Sequence[np.ndarray]]
    source: str
    archs: tuple[str, ...]
    transposed: bool = False


class Row(NamedTuple):
    """What became of an array.

    Attributes:
      variable: its name in the file.
      shape: there.
      action: "loaded", "reshaped" or "skipped"; "new" for a layer that nothing in the file went to.
      note: the layer it went to, or why it went nowhere.
    """

    variable: str
    shape: tuple[int, ...]
    action: str
    note: str


def skip_scale(model: Any, name: str) -> float:
    """What a Keras model multiplies a skip by before its layer `name` scores it; 1 for other layers."""
    scaling = f"scale_{name.removeprefix('score_')}"
    return next((float(layer.scale) for layer in model.layers if layer.name == scaling), 1.0)


def show(rows: Sequence[Row]) -> str:
    """The table as text; the optimiser's variables, which are many, as one line."""
    kept = [row for row in rows if row.note != OPTIMIZER]
    width = max((len(row.variable) for row in kept), default=0)
    lines = [f"{row.action:<8}  {row.variable:<{width}}  {row.shape!s:<20}  {row.note}".rstrip() for row in kept]
    actions = dict.fromkeys(("loaded", "reshaped", "skipped", *(row.action for row in rows)))
    counts = {action: sum(row.action == action for row in rows) for action in actions}
    summary = ", ".join(f"{count} {action}" for action, count in counts.items())
    slots = f", {len(rows) - len(kept)} of these variables of the optimiser" if len(rows) > len(kept) else ""
    return "\n".join([*lines, summary + slots])
