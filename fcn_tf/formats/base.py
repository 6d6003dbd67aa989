"""What an export format is: how it is written, and how its own runtime reads it back. No TensorFlow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


class Result(NamedTuple):
    """What a model says of a batch of pictures.

    Attributes:
      labels: class ids (B, H, W), uint8 or int32.
      confidence: float (B, H, W), the probability of each label.
    """

    labels: np.ndarray
    confidence: np.ndarray


Runner = Callable[[np.ndarray], Result]  # of uint8 (B, H, W, 3) RGB


class Memory(NamedTuple):
    """What a runtime takes for each pixel of a picture; measured by benchmarks/export_memory.py.

    Attributes:
      network: times what `PredictionMemory` counts for the network in TensorFlow.
      scores: times the scores of the pixel.
    """

    network: float
    scores: float


@dataclass(frozen=True, eq=False)
class Source:
    """A trained model to export.

    Attributes:
      model: a Keras model from `segmentation.segmentation_model`.
      metadata: what classes.json says: "classes", "input", "outputs", ...
      calibration: pictures uint8 (S, S, 3), as the model was trained on, from which int8 ranges are measured; empty for
        other precisions.
      web_runtime: what --web_runtime says.
    """

    model: Any
    metadata: Mapping[str, Any]
    calibration: Sequence[np.ndarray] = ()
    web_runtime: str = ""

    @property
    def class_names(self) -> list[str]:
        """One a class id."""
        return [each["name"] for each in self.metadata["classes"]]


@dataclass(frozen=True)
class Format:
    """One value of `--format`.

    Attributes:
      write: (source, folder, precision) writes the model into an empty local folder.
      load: folder -> a function that runs the model there in its own runtime.
      file: of the files that `write` writes, the one to tell the format by.
      memory: what its runtime takes for a picture.
      precisions: those of `registry.EXPORT_PRECISIONS` that it comes in.
      packages: {module to import: name to install} of what it needs beside TensorFlow.
      packages_for: the same by precision, of what only that one needs in addition.
      require: of what --web_runtime says, raises UserError where anything else is missing that it needs.
    """

    write: Callable[[Source, str, str], None]
    load: Callable[[str], Runner]
    file: str
    memory: Memory
    precisions: tuple[str, ...] = ("float32",)
    packages: Mapping[str, str] = field(default_factory=dict)
    packages_for: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    require: Callable[[str], None] = lambda web_runtime: None
