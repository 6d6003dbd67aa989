"""`--mode=explain`: why the model labels a picture as it does: Grad-CAM, and the receptive fields behind a pixel."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fcn_tf.config import Config
from fcn_tf.data.masks.read import read_file
from fcn_tf.errors import UserError
from fcn_tf.inference import inputs
from fcn_tf.inference.inputs import Input
from fcn_tf.inference.runs import TrainedRun, load_run
from fcn_tf.io import files, images, system, texts, videos
from fcn_tf.io.run_dir import Run
from fcn_tf.reports import explanation_page

_SHOWN = 12  # classes in an error message; the rest is counted


def run(config: Config) -> int:
    """Writes explain/index.html and its pictures under --logs_dir; of several pictures explain/NAME/index.html of each.

    Args:
      config: uses input, class_, point, layers, palette and logs_dir.

    Returns:
      The exit status: 0, or 1 if some of several pictures could not be explained.

    Raises:
      UserError: without a trained model, a picture, or a class or a point to explain; where the memory is too small.
    """
    run_dir = Run(config.logs_dir)
    trained = load_run(config.logs_dir).in_palette(config.palette)
    path = run_dir.require_model()
    class_id = _class_id(config.class_, trained.class_names) if config.class_ else None
    if class_id is None and not config.point:
        raise UserError(
            "--mode=explain needs --class=NAME or --point=x,y: what to explain, a class or the label of a pixel; the "
            f"classes are {texts.some(trained.class_names, _SHOWN)}."
        )
    several = _several(config.input, run_dir.explain)
    read = None if several else _read(config.input, config.point)
    files.require_writable(run_dir.explain, flag="--logs_dir")

    # Here, because it takes seconds and mistakes should show at once.
    system.load_tensorflow()
    from fcn_tf.inference import evaluator
    from fcn_tf.models import resizing
    from fcn_tf.models.receptive_field import ReceptiveFields

    model = evaluator.load_model(run_dir)
    longest_side = resizing.longest_side(model)
    if longest_side:
        size = f"{longest_side} pixels on their longer side"
        print(f"pictures are shown as the network sees them: {size}")
        path = f"{path}, which sees pictures as here, with {size}"
    fields = ReceptiveFields(model)
    explainer = _Explainer(
        model=model,
        path=path,
        fields=fields,
        layers=_layers(config.layers, fields.layers),
        longest_side=longest_side,
        class_id=class_id,
        trained=trained,
    )
    if read:
        print(f"open {explainer.explain(config.input, run_dir.explain, *read)}")
        return 0
    done = []
    for item in several:
        print(f"{item.path}:")
        try:
            explainer.explain(item.path, files.join(run_dir.explain, item.name), *_read(item.path, config.point))
            done.append(item)
        except UserError as error:
            print(f"skipped: {error}", file=sys.stderr)
    if done:
        index = explanation_page.write_index(run_dir.explain, {item.shown: item.name for item in done}, model=path)
        print(f"{len(done)} of {len(several)} explained; open {index}")
    return 0 if len(done) == len(several) else 1


def _several(source: str, output_dir: str) -> list[Input]:
    """The pictures of a folder, of a pattern or of standard input; empty where --input names one file."""
    if source != inputs.STDIN and not files.is_dir(source) and (files.exists(source) or not set("*?[") & set(source)):
        if videos.is_video(source):
            raise UserError(f"--input={source} is a video; videos are not explained: give pictures, such as frames.")
        return []
    found = inputs.find(source, output_dir=output_dir)
    if passed_over := found.describe_passed_over():
        print(passed_over)
    pictures = [item for item in found.found if not item.video]
    if not pictures:
        raise UserError(f"--input={source} names videos only; give pictures, such as frames of them.")
    return pictures


def _read(path: str, typed_point: str) -> tuple[np.ndarray, tuple[int, int] | None]:
    """A picture, uint8 (H, W, 3), and the row and column to explain, if they were typed."""
    data = read_file(path, fix="give one picture with --input")
    picture = images.decode_image(data, name=path, say=lambda line: print(f"note: {line}"))
    return picture, _row_and_column(typed_point, picture.shape[:2], path) if typed_point else None


@dataclass(frozen=True)
class _Explainer:
    """Explains pictures by one model.

    Attributes:
      model: of Keras.
      path: of its file, and what it sees, for the page.
      fields: `ReceptiveFields` of the model.
      layers: names of those to look at; empty for the ends of its last stages.
      longest_side: in pixels, what it brings the longer side of its pictures to; 0 where it takes them as they are.
      class_id: the class to explain; None for that of a point.
      trained: the run.
    """

    model: Any
    path: str
    fields: Any
    layers: Sequence[str]
    longest_side: int
    class_id: int | None
    trained: TrainedRun

    def explain(self, source: str, folder: str, picture: np.ndarray, point: tuple[int, int] | None) -> str:
        """Explains one picture.

        Args:
          source: where it was read from.
          folder: where its page goes.
          picture: uint8 (H, W, 3) RGB.
          point: the row and column to explain; None for the class.

        Returns:
          The path of the page.

        Raises:
          UserError: if the memory does not suffice.
        """
        from fcn_tf.inference import explanations

        before = picture.shape[:2]
        if self.longest_side:
            picture, point = _resized(picture, point, self.longest_side)
        height, width = picture.shape[:2]
        _require_memory(explanations.memory_needed(self.fields, height, width), source, height, width)
        layers = self.layers or explanations.stage_ends(self.fields, self.model)
        found = explanations.explain(
            self.model, picture, layers=layers, class_id=self.class_id, point=point, fields=self.fields
        )
        name = self.trained.class_names[found.class_id]
        if point is None and found.labels[found.point] != found.class_id:
            print(f"{name} is predicted nowhere in {source}; explaining the pixel where it is most probable")
        shown = [
            explanation_page.ShownField(each.layer, each.box, each.measured, each.effective_side, each.gradient)
            for each in (*found.fields, found.output)
        ]
        index = self._write_page(folder, os.path.basename(source), picture, found, shown)
        row, column = found.point
        at = f"column {column}, row {row}"
        if self.longest_side:
            at += f", of the photo {column * before[1] // width}, {row * before[0] // height}"
        print(f"{name} at {at}: probability {found.probabilities[found.class_id]:.3f}")
        for each in shown:
            theoretical, measured = map(explanation_page.format_sides, (each.theoretical, each.measured))
            print(f"{each.layer}: receptive field {theoretical} pixels, {measured} measured")
        return index

    def _write_page(
        self,
        folder: str,
        name: str,
        picture: np.ndarray,
        found: Any,
        shown: Sequence[explanation_page.ShownField],
    ) -> str:
        """Writes the page of an `Explanation`; returns its path."""
        height, width = picture.shape[:2]
        return explanation_page.write(
            folder,
            picture,
            name=name,
            model=self.path,
            class_id=found.class_id,
            class_names=self.trained.class_names,
            colors=self.trained.colors,
            point=found.point,
            labels=found.labels,
            region=found.region,
            probabilities=found.probabilities,
            cams=found.cams,
            fields=shown,
            layers=[
                explanation_page.LayerRow(
                    layer, rows, columns, stride=self.fields.stride(layer), side=self.fields.side(layer)
                )
                for layer in self.fields.windowed
                for rows, columns in [self.fields.map_size(layer, height, width)]
            ],
        )


def _require_memory(need: int, source: str, height: int, width: int) -> None:
    """Raises UserError if less memory is free than explaining a picture of this size takes, in bytes."""
    left = system.memory_left()
    if left is not None and need > left and not system.has_gpu():
        raise UserError(
            f"{source}: explaining {width}x{height} pixels takes about {need / 1e9:.1f} GB, {left / 1e9:.1f} GB "
            "are free; give a smaller picture or a part of it."
        )


def _resized(
    picture: np.ndarray, point: tuple[int, int] | None, longest_side: int
) -> tuple[np.ndarray, tuple[int, int] | None]:
    """A picture as large as a network that resizes its pictures sees it, and where the point lies in it."""
    from fcn_tf.models.resizing import fitted_size, resize

    before = picture.shape[:2]
    height, width = after = fitted_size(before[0], before[1], longest_side)
    picture = np.rint(resize(picture[None], height, width)[0]).astype(np.uint8)
    if point is None:
        return picture, None
    row, column = (place * new // old for place, old, new in zip(point, before, after, strict=True))
    return picture, (row, column)


def _class_id(typed: str, class_names: Sequence[str]) -> int:
    """The class of this name, in whatever case, or of this id."""
    by_name = {name.casefold(): number for number, name in reversed(list(enumerate(class_names)))}
    if typed.casefold() in by_name:
        return by_name[typed.casefold()]
    if typed.isdecimal() and int(typed) < len(class_names):
        return int(typed)
    meant = texts.nearest(typed, class_names)
    hint = f"did you mean {meant}?" if meant else f"give one of {texts.some(class_names, _SHOWN)}, or an id."
    raise UserError(f"--class={typed} is none of the run's {len(class_names)} classes (ids from 0); {hint}")


def _layers(typed: str, known: Sequence[str]) -> list[str]:
    """The layers of these names, with commas between."""
    names = [name.strip() for name in typed.split(",") if name.strip()]
    for name in names:
        if name not in known:
            meant = texts.nearest(name, known)
            hint = f"did you mean {meant}?" if meant else f"it has {', '.join(known)}."
            raise UserError(f"--layers={typed}: the model has no layer {name}; {hint}")
    return list(dict.fromkeys(names))


def _row_and_column(point: str, size: tuple[int, int], name: str) -> tuple[int, int]:
    column, row = map(int, point.split(","))
    if row >= size[0] or column >= size[1]:
        raise UserError(
            f"--point={point} lies outside {name}; expected x,y from 0,0 to {size[1] - 1},{size[0] - 1}: column, row."
        )
    return row, column
