"""Labels pictures with a trained model, for `--mode=predict` and for Python. No TensorFlow until one is made."""

import contextlib
import itertools
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from fcn_tf.data import palette
from fcn_tf.errors import OutOfMemory, UserError
from fcn_tf.inference import exported, pictures
from fcn_tf.inference.pictures import Picture
from fcn_tf.inference.runs import TrainedRun, load_run
from fcn_tf.inference.segmentation import Segmentation
from fcn_tf.io import files, images, system, texts
from fcn_tf.io.run_dir import Run

Pictures = list[Picture] | tuple[Picture, ...]
_MODEL_FILE = ".keras"
_BATCH = 8  # pictures of one size that go through the model at once, where the memory allows it
_BATCH_PIXELS = 1 << 21
_SMALL = 250_000_000  # bytes; pictures that take more are labelled one at a time, however many threads there are
_SMALLEST_TILE = 128  # pixels
_SHOWN = 3  # names of classes when it is printed; the rest is counted


class Segmenter:
    """Labels pictures of any size with a trained model. May be used by several threads at once.

    Args:
      model: a Keras model that maps float32 (B, H, W, 3) RGB in [0, 255] to logits (B, H, W, C), or an `Export`.
      class_names: by class id; as many as the model tells apart.
      colors: (r, g, b) in [0, 255] by class id, as many.
      tta: average the probabilities over scales and flips (test-time augmentation).
      sliding_window: side in pixels of the tiles that pictures are labelled in; 0: at once, and in tiles only where
        the memory would not suffice.
      precision: what a Keras model computes in: "float32", "bfloat16", "auto" (bfloat16 where the processor multiplies
        it and the labels of the first picture are those of float32), or "": the type that it was trained in.
      say: gets a line where "auto" has compared.

    Raises:
      UserError: if these do not fit the model, or a path is given: `from_run` takes paths.

    Attributes:
      class_names: by class id.
      colors: (r, g, b) in [0, 255] by class id.
      longest_side: in pixels, what the model brings the longer side of pictures to; 0 where it takes them as they are.
    """

    def __init__(
        self,
        model: Any,
        *,
        class_names: Sequence[str] = (),
        colors: Sequence[Sequence[int]] = (),
        tta: bool = False,
        sliding_window: int = 0,
        precision: str = "",
        say: Callable[[str], Any] = warnings.warn,
    ):
        if isinstance(model, str | os.PathLike):
            raise UserError(f"Segmenter takes a model, got a path; use Segmenter.from_run({os.fspath(model)!r}).")
        self.class_names = tuple(class_names)
        self.colors = tuple((int(red), int(green), int(blue)) for red, green, blue in colors)
        self._tile = sliding_window
        self._name = model.folder if isinstance(model, exported.Export) else getattr(model, "name", "a model")
        self._predictor: Any
        self._memory: Any
        if isinstance(model, exported.Export):
            self._use_export(model, tta=tta, precision=precision)
        else:
            self._use_model(model, tta=tta, precision=precision, say=say)
        self.longest_side: int = self._predictor.longest_side
        if not len(self.class_names) == len(self.colors) == self._predictor.num_classes:
            raise UserError(
                f"the model tells {self._predictor.num_classes} classes apart, got {len(self.class_names)} class names "
                f"and {len(self.colors)} colours; give as many of each."
            )

    def __repr__(self) -> str:
        return f"<Segmenter of {self._name}: {len(self.class_names)} classes, {texts.some(self.class_names, _SHOWN)}>"

    def _use_model(self, model: Any, *, tta: bool, precision: str, say: Callable[[str], Any]) -> None:
        system.load_tensorflow()
        from fcn_tf.inference import fastest, memory, views

        options = views.InferenceOptions(tta=tta, tile=self._tile)
        self._predictor = fastest.predictor(model, options, dtype=precision, say=say)
        self._memory = memory.PredictionMemory(model, scales=options.scales if tta else ())

    def _use_export(self, export: exported.Export, *, tta: bool, precision: str) -> None:
        if tta or precision:
            raise UserError(
                f"{export.folder} is an export, which labels pictures as it was written: tta and precision are of "
                "runs; leave them out, or give the run."
            )
        self._predictor = exported.ExportedPredictor(export, tile=self._tile)
        self._memory = exported.ExportMemory(export)

    @classmethod
    def from_run(
        cls,
        source: str | os.PathLike,
        *,
        tta: bool = False,
        sliding_window: int = 0,
        precision: str = "",
        say: Callable[[str], Any] = warnings.warn,
    ) -> "Segmenter":
        """Loads the model of a run, or an export.

        Args:
          source: the folder of a run, as `--logs_dir`, what `load_run` returned, or a model.keras. Class names and
            colours are read from config.json; the classes of a model.keras without one are named by number. Or a folder
            that `--mode=export` wrote, or the model in it: that is run by the runtime of its format, in tiles where a
            picture is larger than 2048 pixels, and gives no `probabilities`.
          tta: see `Segmenter`.
          sliding_window: see `Segmenter`.
          precision: see `Segmenter`.
          say: gets a line where the run was not validated yet, so that the model of its newest checkpoint is used.

        Raises:
          UserError: if there is no model, or it cannot be used.
        """
        path = os.fspath(source)
        if not isinstance(source, TrainedRun) and (export := exported.find(path)) is not None:
            names, colors = export.class_names, export.colors
            options: dict[str, Any] = {"tta": tta, "sliding_window": sliding_window, "precision": precision}
            return cls(export, class_names=names, colors=colors, **options)
        from_file = path.endswith(_MODEL_FILE) and not files.is_dir(path)
        folder = os.path.dirname(path) if from_file else path
        run = source if isinstance(source, TrainedRun) else None
        if run is None and not from_file:
            _require_folder(path)
        if run is None and (not from_file or Run(folder).exists()):
            run = load_run(folder)
        if from_file and not files.exists(path):
            raise UserError(f"{path} does not exist; give a model.keras, or the folder of a run.")
        system.load_tensorflow()  # here, because it takes seconds and mistakes should show at once
        from fcn_tf.inference import evaluator

        model = evaluator.load_model(path if from_file else Run(folder), say=say)
        count = model.output_shape[-1]
        return cls(
            model,
            class_names=run.class_names if run else [f"class {number}" for number in range(count)],
            colors=run.colors if run else palette.distinct_colors(count),
            tta=tta,
            sliding_window=sliding_window,
            precision=precision,
            say=say,
        )

    @overload
    def __call__(self, picture: Picture, *, confidence: bool = True, probabilities: bool = False) -> Segmentation: ...

    @overload
    def __call__(
        self, picture: Pictures, *, confidence: bool = True, probabilities: bool = False
    ) -> list[Segmentation]: ...

    def __call__(
        self, picture: Picture | Pictures, *, confidence: bool = True, probabilities: bool = False
    ) -> Segmentation | list[Segmentation]:
        """Labels every pixel of a picture, or of each of a list of pictures.

        Args:
          picture: an array (see `pictures.from_array` for the kinds), a Pillow image, the path of a file, or a list of
            these. Neighbours in a list that have one size go through the model together.
          confidence: whether to give the probability of each label.
          probabilities: whether to give the probabilities of all classes.

        Returns:
          A Segmentation of the picture's own size, or a list of them.

        Raises:
          UserError: if a picture cannot be read, or not be labelled within the memory there is.
        """
        wanted = {"confidence": confidence, "probabilities": probabilities}
        if isinstance(picture, list | tuple):
            return list(self._label_all(picture, wanted))
        return self.label(pictures.read(picture), name=_name(picture), **wanted)

    def batch_size(self, height: int, width: int) -> int:
        """How many pictures of this size go through the model together, where the memory allows it."""
        pixels = max(height * width, self.longest_side**2)
        return 1 if self._tile else max(1, min(_BATCH, _BATCH_PIXELS // pixels))

    def label(self, image: np.ndarray, *, name: str, confidence: bool, probabilities: bool) -> Segmentation:
        """Labels a picture that was read before.

        Args:
          image: uint8 (H, W, 3) RGB.
          name: what to call it in errors.
          confidence: see `__call__`.
          probabilities: see `__call__`.

        Raises:
          OutOfMemory: if the memory does not suffice.
        """
        return self._label_batch([image], name, {"confidence": confidence, "probabilities": probabilities})[0]

    def _label_all(self, sources: Pictures, wanted: dict[str, bool]) -> Iterator[Segmentation]:
        """Reads and labels one picture after the other, neighbours of one size together."""
        named = ((_name(each) or f"picture {i} of the list", each) for i, each in enumerate(sources))
        read = ((name, pictures.read(each, name=name)) for name, each in named)
        for (height, width, _), group in itertools.groupby(read, key=lambda pair: pair[1].shape):
            while batch := list(itertools.islice(group, self.batch_size(height, width))):
                yield from self._label_batch([image for _, image in batch], batch[0][0], wanted)

    def _label_batch(self, batch: list[np.ndarray], name: str, wanted: dict[str, bool]) -> list[Segmentation]:
        """Labels pictures of one size: together if the memory allows it, or one after the other, or in tiles."""
        height, width = batch[0].shape[:2]
        kept = 4 * wanted["confidence"] + 2 * len(self.class_names) * wanted["probabilities"]
        held, _ = self._memory.need(height, width, tile=self._tile, kept=kept, count=len(batch))
        with images.one_large_at_a_time if held > _SMALL and not self._memory.on_gpu else contextlib.nullcontext():
            available = self._memory.available()
            size = {"tile": self._tile, "kept": kept, "available": available}
            if len(batch) == 1 or self._memory.fits(height, width, count=len(batch), **size):
                tile = self._memory.tile_for(height, width, name=name or "the picture", **size)
                return self._predict(batch, name, tile, wanted)
        return [each for image in batch for each in self._label_batch([image], name, wanted)]

    def _predict(self, batch: list[np.ndarray], name: str, tile: int, wanted: dict[str, bool]) -> list[Segmentation]:
        """Labels pictures of one size in tiles of this side, or smaller ones where memory runs out all the same.

        By a model that resizes pictures itself: whole, with their longer side made smaller to this.
        """
        height, width = batch[0].shape[:2]
        stacked = np.stack(batch) if len(batch) > 1 else batch[0][None]  # a view: pictures may be large
        while True:
            try:
                found = self._predictor.predict(stacked, tile=tile, **wanted)
                self._memory.ran()
                break
            except _out_of_memory():
                smaller = (tile or max(height, width)) // 2
                if self._tile or smaller < _SMALLEST_TILE:
                    tiled = f" in tiles of {tile}; give a smaller --sliding_window." if tile else "; make it smaller."
                    raise OutOfMemory(
                        f"{name or 'the picture'}: there is not enough memory to label {width}x{height} pixels"
                        + ("; make it smaller." if self.longest_side else tiled)
                    ) from None
                tile = smaller
        nothing = [None] * len(batch)
        confidence = nothing if found.confidence is None else list(found.confidence)
        probabilities = nothing if found.probabilities is None else list(found.probabilities)
        tile = tile if tile < max(height, width) else 0
        return [
            Segmentation(*each, tile=tile, class_names=self.class_names, colors=self.colors)
            for each in zip(batch, found.labels, confidence, probabilities, strict=True)
        ]


def of_run(
    run: TrainedRun,
    export: exported.Export | None,
    *,
    tta: bool,
    sliding_window: int,
    precision: str = "",
    say: Callable[[str], Any],
) -> Segmenter:
    """What labels pictures in a mode: the model of a run or its export, in the names and colours of the run.

    Args:
      run: any.
      export: from `exported.of_run`; None for the model.
      tta: see `Segmenter`.
      sliding_window: see `Segmenter`.
      precision: see `Segmenter`; an export is run as it was written.
      say: see `Segmenter.from_run`.

    Raises:
      UserError: if it cannot be used.
    """
    if export is None:
        return Segmenter.from_run(run, tta=tta, sliding_window=sliding_window, precision=precision, say=say)
    names, colors = run.class_names, run.colors
    return Segmenter(export, class_names=names, colors=colors, tta=tta, sliding_window=sliding_window)


def _require_folder(path: str) -> None:
    """Raises UserError where a path that names no model is a file, or a folder of exports: it says what to give."""
    if not files.is_dir(path):
        if files.exists(path):
            raise UserError(
                f"{path} is a file, but no model; expected a run's folder or model.keras, or the folder of an export."
            )
        return
    below = [files.join(path, name) for name in files.list_dir(path)]
    if not Run(path).exists() and (exports := [each for each in below if exported.is_export(each)]):
        raise UserError(f"{path} holds exports, expected one of them; give {' or '.join(exports)}.")


def _out_of_memory() -> tuple[type[Exception], ...]:
    """What the runtimes that are loaded raise where memory runs out."""
    if "tensorflow" not in sys.modules:
        return (MemoryError,)
    import tensorflow as tf

    return MemoryError, tf.errors.ResourceExhaustedError


def _name(picture: Picture) -> str:
    """What to call a picture in errors, or "" for one that has no file."""
    return os.fspath(picture) if isinstance(picture, str | os.PathLike) else ""
