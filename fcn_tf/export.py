"""`--mode=export`: the run's model in other formats, each loaded back in its own runtime and compared with the model.

Each takes uint8 RGB pictures of any height and width, with all preprocessing inside, and gives the label and its
confidence at every pixel.
"""

import json
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from fcn_tf import __version__, formats
from fcn_tf.config import Config
from fcn_tf.data import datasets
from fcn_tf.data.base import Dataset
from fcn_tf.data.datasets import run_classes, run_examples
from fcn_tf.errors import UserError
from fcn_tf.formats.base import Runner, Source
from fcn_tf.inference import exported
from fcn_tf.inference.exported import METADATA
from fcn_tf.inference.runs import load_run
from fcn_tf.io import files, run_log, system, texts
from fcn_tf.io.run_dir import Run
from fcn_tf.reports import export_table

_COMPARED_ON, _CALIBRATED_ON = 20, 100  # pictures
_IDLE_SECONDS = 3600  # no export takes so long to write
_STAND_IN = "shapes"  # generated pictures, to compare on where the data set is not there
_UNCHECKED = (
    "note: --format={name}: what int8 costs in mean IoU (at most 1 point) was not checked, for there is no ground "
    "truth to compare with; export again where --data_dir has the data set."
)


def run(config: Config) -> int:
    """Writes a folder for each format into --output_dir, and export.json: what the comparisons found.

    Args:
      config: uses format, quantize, web_runtime, output_dir, logs_dir, palette, dataset, data_dir, split and the other
        flags of the data set.

    Returns:
      The exit status: 0, or 1 if a format does not say what the model says, or could not be converted; the others are
      written all the same.

    Raises:
      UserError: without a trained model, a package that a format needs, training data for int8, or a folder that can be
        written.
    """
    run_dir = Run(config.logs_dir)
    settings = load_run(config.logs_dir).in_palette(config.palette).config
    path = run_dir.require_model()
    entries = formats.entries(config.format.split(","), config.quantize, web_runtime=config.web_runtime)
    output_dir = config.output_dir or run_dir.export
    folders = {name: exported.folder_of(output_dir, name, config.quantize) for name in entries}
    for folder in folders.values():
        _require_replaceable(folder)
    files.require_writable(output_dir, flag="--output_dir")
    files.sweep(output_dir, idle_seconds=_IDLE_SECONDS, folders=True)
    rule = run_examples.RunExamples(run_dir, config.dataset, config.data_dir).split_rule
    known = {**config.data_flags(), "cache": run_dir.facts, "split_rule": rule}
    training = datasets.load(config.dataset, config.data_dir, "train", **known) if config.quantize == "int8" else None
    examples, has_truth = _examples(config, known)
    if has_truth:
        about = {"name": config.dataset, "data_dir": config.data_dir, "palette": config.palette}
        run_classes.settle(run_dir, examples, **about)
        settings = {**settings, "class_names": run_dir.read_config()["class_names"]}

    # Here, because it takes seconds and mistakes should show at once.
    system.load_tensorflow()
    from fcn_tf.formats import verify
    from fcn_tf.inference import evaluator, memory
    from fcn_tf.models import resizing, segmentation

    model = segmentation.segmentation_model(evaluator.load_model(run_dir), settings["class_names"])
    side = resizing.longest_side(model.get_layer("network"))
    metadata = _metadata(settings, str(model.output["labels"].dtype), config.quantize, longest_side=side)
    metadata["bytes_per_pixel"] = memory.PredictionMemory(model.get_layer("network")).bytes_per_pixel
    metadata["model_stamp"] = list(run_dir.model_stamp())
    # Training pictures in the same sizes: in small ones borders, where convolutions see zeros, weigh more.
    calibration = (
        verify.pictures(training, count=_CALIBRATED_ON, longest_side=side, ground_truth=False) if training else []
    )
    source = Source(model, metadata, [picture.pixels for picture in calibration], config.web_runtime)
    shown = verify.pictures(examples, count=_COMPARED_ON, longest_side=side, ground_truth=has_truth)
    reference = verify.Reference(model, shown, ignore_label=examples.spec.ignore_label)
    rows = []
    for name, entry in entries.items():
        try:
            with files.replacing_folder(folders[name]) as folder:
                entry.write(source, folder, config.quantize)
                written = files.size_of_folder(folder)
                files.write_bytes(files.join(folder, METADATA), (json.dumps(metadata, indent=2) + "\n").encode())
                found = _measured(reference, entry.load(folder), config.quantize)
        except verify.Mismatch as mismatch:
            print(f"error: --format={name}: {mismatch}; {folders[name]} was not written.", file=sys.stderr)
            continue
        except Exception as error:  # what converters and runtimes raise is of many kinds
            reason = _reason(error)
            print(f"error: --format={name}: {reason}; {folders[name]} was not written.", file=sys.stderr)
            continue
        rows.append({"format": name, "quantize": config.quantize, "folder": folders[name], "bytes": written, **found})
        if config.quantize == "int8":
            rows[-1]["mean_iou_checked"] = checked = found["mean_iou_difference"] is not None
            if not checked:
                print(_UNCHECKED.format(name=name), file=sys.stderr)
        # At once: the next converter may end the process.
        _add_to_summary(files.join(output_dir, "export.json"), rows[-1], model=path, pictures=len(shown), data=examples)
    if rows:
        print(export_table.text(rows))
        data = f"{examples.spec.name} {examples.split}" if has_truth else f"generated {examples.spec.name}"
        print(f"compared with {path} on {len(shown)} pictures of {data}; written to {output_dir}")
    return 0 if len(rows) == len(entries) else 1


def _reason(error: Exception) -> str:
    """Why a format could not be written, in one line; the traceback goes to run.log.

    Raises:
      Exception: the error itself, where it is one that the user can fix and other formats would meet, too.
    """
    if isinstance(error, UserError) or (isinstance(error, OSError) and files.refusal(error)):
        raise error
    run_log.note("".join(traceback.format_exception(error)))
    return f"{' '.join(f'{type(error).__name__}: {error}'.split()):.300}"


def _measured(reference: Any, run: Runner, precision: str) -> dict[str, Any]:
    """How an export compares with its model, see `verify.Reference`."""
    return reference.compare(run, precision=precision) | reference.race(run)


def _require_replaceable(folder: str) -> None:
    """Raises UserError if something else than an earlier export would be replaced."""
    if not files.exists(folder) or (files.is_dir(folder) and METADATA in files.list_dir(folder)):
        return
    if not files.is_dir(folder) or files.list_dir(folder, hidden=True):
        raise UserError(
            f"{folder} is there and is no earlier export (it has no {METADATA}); move it away, or give another "
            "--output_dir."
        )


def _examples(config: Config, known: dict[str, Any]) -> tuple[Dataset, bool]:
    """What to compare on, and whether its ground truth is that of the run's classes."""
    try:
        datasets.name_skipped(config.dataset, config.data_dir, **config.data_flags())
        dataset = datasets.load(config.dataset, config.data_dir, config.split, **known)
        if len(dataset):
            return dataset, True
        reason = f"{dataset.spec.name} {dataset.split} has no examples"
    except UserError as error:
        reason = str(error)
    print(f"note: compared on generated pictures, because the run's data set is not there: {reason}", file=sys.stderr)
    return datasets.load(_STAND_IN, "", "validation"), False


def _metadata(
    settings: Mapping[str, Any], label_dtype: str, precision: str, *, longest_side: int = 0
) -> dict[str, Any]:
    names, colors = settings["class_names"], settings["colors"]
    return {
        "classes": [
            {"id": number, "name": name, "color": list(color)}
            for number, (name, color) in enumerate(zip(names, colors, strict=True))
        ],
        "ignore_label": settings.get("ignore_label"),
        "input": {"images": "uint8 (batch, height, width, 3), RGB"},
        "outputs": {
            "labels": f"{label_dtype} (batch, height, width), class ids",
            "confidence": "float32 (batch, height, width), the probability of each label",
        },
        "precision": precision,
        "longest_side": longest_side,
        "arch": settings.get("flags", {}).get("arch"),
        "fcn_tf": __version__,
    }


def _add_to_summary(path: str, row: dict[str, Any], *, model: str, pictures: int, data: Dataset) -> None:
    """Replaces a row of export.json; those of formats that were exported before stay."""
    about = {"model": model, "dataset": data.spec.name, "split": data.split, "pictures": pictures}
    try:
        before = texts.parse_json(files.read_bytes(path))["exports"] if files.exists(path) else []
    except (ValueError, TypeError, LookupError):
        before = []  # damaged: it says nothing that a new export does not say again
    named = (each for each in before if isinstance(each, dict) and isinstance(each.get("folder"), str))
    kept = [each for each in named if each["folder"] != row["folder"] and files.exists(each["folder"])]
    text = json.dumps({"exports": [*kept, about | row]}, indent=2, allow_nan=False) + "\n"
    files.write_bytes(path, text.encode())
