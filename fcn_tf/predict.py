"""`--mode=predict`: labels any pictures and videos, no ground truth needed.

Each picture NAME becomes NAME_label.png, whose pixels are class ids (it looks black, because ids are small
numbers), and NAME_overlay.png, which shows them in colour over the picture; docs/predict.md has the other files.
"""

from collections.abc import Mapping, Sequence

from fcn_tf.config import Config
from fcn_tf.errors import UserError
from fcn_tf.inference import bulk, inputs
from fcn_tf.inference.inputs import Input
from fcn_tf.inference.journal import Journal
from fcn_tf.inference.runs import TrainedRun, load_run
from fcn_tf.inference.segmentation import folder_outputs
from fcn_tf.inference.segmenter import Segmenter
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run

_OF_PICTURES, _OF_VIDEOS = ("labels", "overlay", "legend", "areas"), ("overlay", "legend", "areas")  # by default


def run(config: Config) -> int:
    """Labels everything that --input names.

    Args:
      config: uses input, output_dir, outputs, overwrite, logs_dir, palette, inference_precision, tta and
        sliding_window.

    Returns:
      The exit status: 0, or 1 if a picture could not be read, not be labelled in the memory there is, or its results
      not be written; the others are done all the same.

    Raises:
      UserError: without a trained model, pictures, or a folder that can be written.
      OSError: if nothing more can be written to that folder.
    """
    trained = load_run(config.logs_dir).in_palette(config.palette)
    output_dir = config.output_dir or Run(config.logs_dir).predict
    found = inputs.find(config.input, output_dir=output_dir)
    files.require_writable(output_dir, flag="--output_dir")
    settings = {
        "model": _model_stamp(config.logs_dir),
        "colors": [list(color) for color in trained.colors],
        "tta": config.tta,
        "sliding_window": config.sliding_window,
        "precision": config.inference_precision,
    }
    journal = Journal(output_dir, settings)
    chosen = tuple(config.outputs.split(",")) if config.outputs else ()
    outputs = {video: chosen or (_OF_VIDEOS if video else _OF_PICTURES) for video in (False, True)}
    wanted = {name for item in found.found for name in outputs[item.video]}
    once = {files.join(output_dir, each.file): each for name, each in folder_outputs().items() if name in wanted}
    for path in once:
        if files.exists(path) and not journal.began:
            raise UserError(f"{path} is there already and would be replaced; move it, or give another --output_dir.")
    if passed_over := found.describe_passed_over():
        print(passed_over)

    todo = list(found.found)
    if not config.overwrite:
        todo = [item for item in todo if not journal.done(item, bulk.endings(item, outputs[item.video]))]
    if skipped := len(found.found) - len(todo):
        print(f"{skipped} of {len(found.found)} are done already (--overwrite does them again)")
    failed = _label(todo, outputs, output_dir, journal, trained, config) if todo else 0
    areas = [
        (item.shown, number if item.video else None, pixels)
        for item in found.found
        for number, pixels in enumerate(journal.frames(item) or ())
    ]
    for path, output in once.items():
        files.write_bytes(path, output.encode(trained.class_names, trained.colors, areas))
    done = len(found.found) - failed
    print(f"{done} of {len(found.found)} labelled" + (f"; written to {output_dir}" if done else ""))
    return 1 if failed else 0


def _label(
    todo: list[Input],
    outputs: Mapping[bool, Sequence[str]],
    output_dir: str,
    journal: Journal,
    trained: TrainedRun,
    config: Config,
) -> int:
    """Labels pictures, then videos; returns how many could not be."""
    segmenter = Segmenter.from_run(
        trained,
        tta=config.tta,
        sliding_window=config.sliding_window,
        precision=config.inference_precision,
        say=bulk.write_line,
    )
    predictor = bulk.BulkPredictor(segmenter, output_dir, journal)
    try:
        failed = predictor.pictures([item for item in todo if not item.video], outputs[False])
        return failed + predictor.videos([item for item in todo if item.video], outputs[True])
    finally:
        journal.save()


def _model_stamp(logs_dir: str) -> list[int]:
    """Another one, another model."""
    path = Run(logs_dir).require_model()
    return list(files.stamp(path if files.exists(path) else f"{path}.index"))
