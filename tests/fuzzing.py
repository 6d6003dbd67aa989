"""Every reader of files, on files that were changed at random: `pytest tests/test_fuzz.py`, benchmarks/fuzz.py.

A reader gives something or raises a `UserError` of one line. It never raises anything else, takes longer than
`SECONDS`, takes more memory than `MOST_BYTES`, unpickles, or writes outside its folder.
"""

import contextlib
import gzip
import io
import json
import pickle
import resource
import shutil
import signal
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis
import numpy as np
from hypothesis import strategies as st
from PIL import Image

from fcn_tf import config as configs
from fcn_tf.command import flags
from fcn_tf.data import class_weights, datasets
from fcn_tf.data.base import Example
from fcn_tf.data.datasets import ade20k, folder
from fcn_tf.data.datasets.run_examples import RunExamples
from fcn_tf.data.masks import annotations
from fcn_tf.data.quality.scan import FileScanCache
from fcn_tf.errors import UserError
from fcn_tf.formats import web
from fcn_tf.inference.journal import Journal
from fcn_tf.inference.runs import load_run
from fcn_tf.io import images, texts
from fcn_tf.io.parts import Part
from fcn_tf.io.run_dir import HISTORY_COLUMNS, TRAINING_COLUMNS, Run
from fcn_tf.metrics import per_image
from fcn_tf.models import matconvnet, torchvision_vgg
from fcn_tf.reports import charts
from fcn_tf.training import trackers
from fcn_tf.training.running_metrics import RunningMetrics
from tests import matfiles, prepared, tiny_run, tiny_training
from tests.formats import web_runtime
from tests.models import test_torchvision_vgg as torchvision_files

SECONDS = 10
MOST_BYTES = 1 << 30

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 2**31, 2**63, 10**30, float("inf"), float("nan"), "", "0", "x" * 1000, "../../outside",
    "/outside", "\x1b[31m\0\n", "\ud800", [], {}, [[]], [0] * 100, {"a": {"b": []}},
)  # fmt: skip
NUMBERS = (0, 1, 127, 128, 255, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
Edit = tuple[str, float, int]


@dataclass(frozen=True)
class Reader:
    """A reader and the files it reads.

    Attributes:
      make: writes them into a folder that is empty.
      harmed: the names of those that are changed, one at a time.
      read: reads them, as a mode does.
      slow: so many times fewer tries.
    """

    make: Callable[[Path], object]
    harmed: tuple[str, ...]
    read: Callable[[Path], object]
    slow: int = 1


def edits() -> st.SearchStrategy[list[Edit]]:
    """One to four changes: what, where (a share of the file), and with which number."""
    kinds = st.sampled_from(
        ("flip", "flip", "cut", "drop", "double", "number", "byte", "text", "value", "value", "zip")
    )
    return st.lists(
        st.tuples(kinds, st.floats(0, 1, exclude_max=True), st.integers(0, 2**16 - 1)), min_size=1, max_size=4
    )


def harm(data: bytes, changes: list[Edit]) -> bytes:
    """The bytes after these changes."""
    for kind, share, number in changes:
        place = int(share * len(data))
        before, after = data[:place], data[place:]
        if kind == "flip":
            data = before + bytes([after[0] ^ 1 << number % 8]) + after[1:] if after else data
        elif kind == "cut":
            data = before
        elif kind == "drop":
            data = before + after[1 + number % 64 :]
        elif kind == "double":
            data = before + after[: 1 + number % 4096] + after
        elif kind == "number":
            data = before + struct.pack("<I" if number & 1 else ">I", NUMBERS[number % len(NUMBERS)]) + after[4:]
        elif kind == "byte":
            data = before + bytes([number % 256]) + after
        elif kind == "text":
            data = (
                before
                + (b"\0", b"\r", b"\x1b[2J", b"\xff\xfe", b'"', b",", b"[" * 5000, b"9" * 5000)[number % 8]
                + after
            )
        elif kind == "zip":
            data = _in_zip(data, share, number)
        else:
            data = _in_json(data, share, number)
    return data


def _in_zip(data: bytes, share: float, number: int) -> bytes:
    """Changes what a file in a zip holds or how it is called, and keeps the checksums right."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            members = [(info.filename, opened.read(info)) for info in opened.infolist()]
    except Exception:
        return data
    if not members:
        return data
    chosen = number % len(members)
    name, content = members[chosen]
    renamed = (name, "../outside", "/outside", name + "\\..\\..\\outside", "", name)[number // 7 % 6]
    kind = ("flip", "cut", "value", "drop", "number")[number // 3 % 5]
    members[chosen] = renamed, harm(content, [(kind, share, number)])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for each, content in members:
            opened.writestr(each or "x", content)
    return buffer.getvalue()


def _in_json(data: bytes, share: float, number: int) -> bytes:
    """Replaces one value in JSON, gzipped or not, or lines of it; other data stay."""
    packed = data[:2] == b"\x1f\x8b"
    try:
        text = gzip.decompress(data) if packed else data
        lines = text.splitlines() if packed and b"\n" in text.strip() else [text]
        chosen = int(share * len(lines))
        content = json.loads(lines[chosen])
    except Exception:
        return data
    places = list(_places(content))
    if not places:
        return data
    holder, key = places[number % len(places)]
    holder[key] = VALUES[(number // 7 + int(share * 1000)) % len(VALUES)]
    lines[chosen] = json.dumps(content).encode()
    return gzip.compress(b"\n".join(lines)) if packed else b"\n".join(lines)


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    keys = content.keys() if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in list(keys):
        yield content, key
        yield from _places(content[key])


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Raises from within what takes too long or unpickles."""

    def late(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was unpickled")

    former = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        with mock.patch.object(pickle, "loads", refuse), mock.patch.object(pickle, "load", refuse):
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


def attempt(name: str, reader: Reader, whole: Path, which: int, changes: list[Edit]) -> bool:
    """Reads a copy of the folder `whole` in which one file was changed; whether it was read."""
    with tempfile.TemporaryDirectory() as root:
        inside = Path(root, "a/b/in")
        shutil.copytree(whole, inside)
        path = inside / reader.harmed[which % len(reader.harmed)]
        path.write_bytes(harm(path.read_bytes(), changes))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            with limited():
                reader.read(inside)
            return True
        except UserError as error:
            assert "\n" not in texts.printable(str(error)), name
            return False
        finally:
            grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak)
            assert grown < MOST_BYTES, f"{name} took {grown:,} bytes"
            outside = {path for path in Path(root).rglob("*") if inside not in (path, *path.parents)}
            assert outside == {Path(root, "a"), Path(root, "a/b")}, f"{name} wrote {outside}"


def fuzz(name: str, reader: Reader, *, tries: int, seed: int | None = None) -> int:
    """Makes some tries, the same for the same seed; returns how many of them were read."""
    read = 0
    with tempfile.TemporaryDirectory() as folder_of_whole:
        whole = Path(folder_of_whole, "whole")
        whole.mkdir()
        reader.make(whole)

        @hypothesis.settings(
            max_examples=max(tries // reader.slow, 1),
            deadline=None,
            database=None,
            derandomize=seed is None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(st.integers(0, 9), edits())
        def one(which: int, changes: list[Edit]) -> None:
            nonlocal read
            read += attempt(name, reader, whole, which, changes)

        (one if seed is None else hypothesis.seed(seed)(one))()
    return read


# ---- the readers


def _mat(compress: bool) -> Reader:
    convs = matfiles.vgg_convs(11, (2, 2, 2, 2, 2))
    return Reader(
        lambda at: matfiles.write_mat(at / "a.mat", convs, compress=compress),
        ("a.mat",),
        lambda at: matconvnet.read(at / "a.mat"),
    )


def _make_run(at: Path) -> None:
    run = tiny_run.write_run(at, flags=configs.Config(dataset="camvid").to_json())
    config = run.read_config()
    run.write_config({**config, "num_classes": 3, "examples": {"train": 1, "validation": 1}})
    rows = [dict.fromkeys(HISTORY_COLUMNS, 0.5) | {"step": step} for step in (5, 10)]
    for row in rows:
        run.append_history(row)
    run.write_training([dict.fromkeys(TRAINING_COLUMNS, 0.5) | {"step": step} for step in range(1, 11)])
    (at / "examples.json").write_text('{"train": {"a.png": 5}, "validation": {"b.png": null}, "trained_before": {}}')
    (at / "trackers.json").write_text('{"mlflow": "id"}')
    state = RunningMetrics(tiny_run.SPEC).state() | {"cells": [1] * 12}
    (at / "notes.json").write_text(json.dumps({"window": state, "since_log": state}))


def _read_run(at: Path) -> None:
    run = Run(str(at))
    for mode in ("train", "evaluate", "visualize"):
        configs.complete({"mode": mode, "logs_dir": str(at)})
    trained = load_run(str(at))
    assert len(trained.class_names) == len(trained.colors)
    assert all(0 <= channel <= 255 for color in trained.colors for channel in color)
    run.best_validation()
    run.validations_since_best()
    charts.write_curves(run)
    RunExamples(run, "camvid", str(at))
    trackers.read_ids(run)
    with contextlib.suppress(ValueError):
        notes = texts.parse_json((at / "notes.json").read_bytes())
        RunningMetrics.restored(tiny_run.SPEC, notes.get("window") if isinstance(notes, dict) else None).scores()


def _load_keras(at: Path) -> None:
    from fcn_tf.inference import evaluator

    evaluator.load_model(str(at / "model.keras"))


def _variables() -> list[Any]:
    import keras

    return [keras.Variable(np.arange(6.0).reshape(2, 3), name=name) for name in ("one", "two")]


def _save_checkpoints(at: Path) -> None:
    from fcn_tf.training.checkpoints import Checkpoints

    checkpoints = Checkpoints(str(at), _variables())
    for step in (1, 2):
        checkpoints.save(step, {"window": 1})


def _save_checkpoints_as_before(at: Path) -> None:
    _save_checkpoints(at)
    for path in at.glob("ckpt-*.json"):
        path.unlink()


def _restore_checkpoints(at: Path) -> None:
    from fcn_tf.training.checkpoints import Checkpoints

    checkpoints = Checkpoints(str(at), _variables())
    with contextlib.redirect_stdout(io.StringIO()):
        checkpoints.notes(checkpoints.restore())


def _make_records(at: Path) -> None:
    data = prepared.write_folder(at / "data", count=3)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        prepared.make("folder", data, at / "out")
    for path in (at / "data", at / "out_logs"):
        shutil.rmtree(path, ignore_errors=True)


def _read_records(at: Path, *, right_checksum: bool = False) -> None:
    out = at / "out"
    if right_checksum:  # whoever changed the index meant it
        manifest, data = json.loads((out / "manifest.json").read_text()), (out / "train-index.jsonl.gz").read_bytes()
        manifest["splits"]["train"]["index"] |= {"bytes": len(data), "crc32": zlib.crc32(data)}
        (out / "manifest.json").write_text(json.dumps(manifest))
    dataset = datasets.load("records", str(out), "all" if not right_checksum else "train")
    for example in dataset.examples:
        dataset.read(example)


def _make_labelme(at: Path) -> None:
    shapes = [
        {"label": "car", "shape_type": "polygon", "points": [[1, 1], [9, 2], [5, 9]]},
        {"label": "car", "shape_type": "circle", "points": [[5, 5], [7, 5]]},
        {"label": "car", "shape_type": "rectangle", "points": [[0, 0], [3, 3]]},
    ]
    content = {"shapes": shapes, "imagePath": "a.jpg", "imageHeight": 12, "imageWidth": 16}
    (at / "a.json").write_text(json.dumps(content))


def _make_coco(at: Path) -> None:
    instances = [
        {"image_id": 1, "category_id": 1, "area": 9, "segmentation": [[1, 1, 9, 2, 5, 9]]},
        {"image_id": 1, "category_id": 2, "area": 4, "segmentation": {"size": [12, 16], "counts": [10, 20, 162]}},
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 12, "width": 16}],
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "person"}],
        "annotations": instances,
    }
    (at / "a.json").write_text(json.dumps(content))


def _draw(at: Path) -> None:
    path = str(at / "a.json")
    found = annotations.read(path)
    if isinstance(found, annotations.LabelMe):
        annotations.draw(annotations.labelme_address(path, ["car"]))
    elif found is not None:
        for image in found.images:
            annotations.draw(annotations.coco_address(path, found, image))


def picture(form: str) -> bytes:
    """A small picture in greys, in a format of Pillow's, with EXIF data where it has any."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 1), np.uint8).repeat(3, 2)
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    options: dict[str, Any] = {"exif": exif} if form in ("JPEG", "PNG", "WEBP", "TIFF") else {}
    if form == "WEBP":
        options["lossless"] = True
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def see(data: bytes) -> None:
    """Looks at a picture in every way; raises the first UserError."""
    errors: list[UserError] = []
    for look in (images.decode_image, images.probe_image, images.read_size, images.decode_label, images.decode_mask):
        try:
            look(data, name="a")
        except UserError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _image(form: str) -> Reader:
    return Reader(
        lambda at: (at / "a").write_bytes(picture(form)), ("a",), lambda at: see((at / "a").read_bytes()), slow=2
    )


def _make_classes(at: Path) -> None:
    (at / "classes.csv").write_text("name,r,g,b\nsky,0,0,255\nland,0,255,0\n")
    (at / "weights.txt").write_text("red,1.5\ngreen,2\nblue,1\n")


def _read_classes(at: Path) -> None:
    class_weights.read(str(at / "weights.txt"), tiny_run.SPEC)
    folder.read_classes(str(at))


def _make_zip(at: Path) -> None:
    with zipfile.ZipFile(at / "ADEChallengeData2016.zip", "w", zipfile.ZIP_DEFLATED) as opened:
        for name in ("images/training/a.jpg", "annotations/training/a.png", "index.txt"):
            opened.writestr(f"ADEChallengeData2016/{name}", bytes(range(256)) * 3)


def _unpack(at: Path) -> None:
    with contextlib.redirect_stderr(io.StringIO()):  # the bar
        ade20k.unpack(str(at / "ADEChallengeData2016.zip"), str(at / "ADEChallengeData2016"))


def _make_counts(at: Path) -> None:
    (at / "evaluation").mkdir()
    dataset = tiny_run.dataset([([[0, 1]], [[0, 1]]), ([[2, 1]], [[2, 1]])])
    (at / "evaluation/per_image.npz").write_bytes(per_image.pack(dataset, np.ones((2, 3, 3), np.int64)))


def _read_counts(at: Path) -> None:
    dataset = tiny_run.dataset([([[0, 1]], [[0, 1]]), ([[2, 1]], [[2, 1]])])
    per_image.read_pixel_counts(Run(str(at)), dataset)


def _make_facts(at: Path) -> None:
    tiny_training.write_camvid(at / "data", train=1, validation=1)
    _read_facts(at)


def _read_facts(at: Path) -> None:
    scans = FileScanCache(str(at / "facts.json.gz"))
    example = Example("0", str(at / "data/train/0.png"), str(at / "data/trainannot/0.png"))
    with contextlib.redirect_stderr(io.StringIO()):
        scans.photos([example])
        scans.masks([example])


def _make_journal(at: Path) -> None:
    entry = {"input": "a.jpg", "stamp": [1, 2], "files": ["a_label.png"], "frames": [{"0": 5}]}
    for name in ("predict.json", "predict-1-of-2.json"):
        (at / name).write_text(json.dumps({"settings": {}, "results": {"a": entry}}))


def _read_journal(at: Path) -> None:
    from fcn_tf.inference.inputs import Input

    journal, item = Journal(str(at), {}), Input("a.jpg", "a.jpg", "a", False)
    journal.done(item, ["_label.png"])
    journal.frames(item)
    journal.save()
    Journal(str(at), {}, part=Part(2, 2))  # looks at the settings of the others


def _read_flag_file(at: Path) -> None:
    flags.config_from_flags(["main.py", f"--flagfile={at}/a.cfg", f"--logs_dir={at}/none"])


def _read_flags(at: Path) -> None:
    words = (at / "flags").read_bytes().decode("utf-8", "surrogateescape").split("\n")
    with contextlib.redirect_stdout(io.StringIO()):
        flags.config_from_flags(["main.py", *words, f"--logs_dir={at}/none"])


def _make_tgz(at: Path) -> None:
    import tarfile

    with tarfile.open(at / "a.tgz", "w:gz") as packed:
        for name, data in web_runtime.FILES.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))


_FLAGS = (
    "--image_size=360x480\n--batch_size=4\n--learning_rate=1e-4\n--scales=0.5-2\n--freeze=conv1,conv2\n--noaugment\n"
    "--loss=cross_entropy+dice\n--mode=predict\n--input=a\n--outputs=labels,overlay\n--part=1/2\n--mask_values=0-20\n--mask_colors=000000,ff0000\n"
)
READERS: dict[str, Reader] = {
    "mat": _mat(False),
    "mat, compressed": _mat(True),
    "safetensors": Reader(
        lambda at: torchvision_files.write(
            at / "a.safetensors",
            torchvision_files.state_dict(matfiles.vgg_convs(11, (2, 2, 2, 2, 2)), torchvision_files.VGG11),
        ),
        ("a.safetensors",),
        lambda at: torchvision_vgg.read(str(at / "a.safetensors")),
    ),
    "flags": Reader(lambda at: (at / "flags").write_text(_FLAGS), ("flags",), _read_flags),
    "flag file": Reader(lambda at: (at / "a.cfg").write_text(_FLAGS), ("a.cfg",), _read_flag_file),
    "run": Reader(
        _make_run,
        ("config.json", "history.csv", "config.json", "training.csv", "examples.json", "notes.json", "trackers.json"),
        _read_run,
        slow=3,
    ),
    "keras": Reader(_make_run, ("model.keras",), _load_keras, slow=3),
    "checkpoints": Reader(
        _save_checkpoints,
        (
            *(f"ckpt-2{end}" for end in (".json", ".index", ".data-00000-of-00001")),
            "checkpoint", "notes-2.json", "ckpt-1.index",
        ),
        _restore_checkpoints,
        slow=3,
    ),
    "checkpoints without checksums": Reader(
        _save_checkpoints_as_before, ("ckpt-2.index", "ckpt-2.data-00000-of-00001"), _restore_checkpoints, slow=3
    ),
    "records": Reader(
        _make_records,
        ("out/manifest.json", "out/train-index.jsonl.gz", "out/train-00000-of-00002.tfrecord"),
        _read_records,
    ),
    "records, checksum right": Reader(
        _make_records, ("out/train-index.jsonl.gz",), lambda at: _read_records(at, right_checksum=True)
    ),
    "LabelMe": Reader(_make_labelme, ("a.json",), _draw),
    "COCO": Reader(_make_coco, ("a.json",), _draw),
    "classes": Reader(_make_classes, ("classes.csv", "weights.txt"), _read_classes),
    "zip": Reader(
        _make_zip,
        ("ADEChallengeData2016.zip",),
        _unpack,
    ),
    "per_image.npz": Reader(_make_counts, ("evaluation/per_image.npz",), _read_counts),
    "facts": Reader(_make_facts, ("facts.json.gz",), _read_facts),
    "journal": Reader(_make_journal, ("predict.json", "predict-1-of-2.json"), _read_journal),
    "tgz": Reader(_make_tgz, ("a.tgz",), lambda at: web.require(str(at / "a.tgz"))),
    **{form: _image(form) for form in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")},
}  # fmt: skip
