"""Your own data: photos and masks in folders; their classes are declared by flags and files, or inferred."""

import csv
import dataclasses
import io

from fcn_tf.data import palette
from fcn_tf.data.base import (
    SPLITS,
    ClassInference,
    Dataset,
    DatasetEntry,
    DatasetSpec,
    Listing,
    Options,
    require_split,
)
from fcn_tf.data.datasets import annotated, layouts
from fcn_tf.data.masks import infer, notation
from fcn_tf.data.masks.read import reader
from fcn_tf.data.masks.rules import MaskRules
from fcn_tf.data.quality.scan import FileScanCache
from fcn_tf.errors import MissingSplit, UserError
from fcn_tf.io import files, images, texts


def load(data_dir: str, split: str, *, options: Options = Options()) -> Dataset:  # noqa: B008 (frozen)
    """Lists one split.

    Args:
      data_dir: holds the folders, and classes.txt or classes.csv if there is one.
      split: "train", "validation", "test" or "all".
      options: what the flags say about classes; `resolve` infers the rest, for which it scans every mask.

    Raises:
      UserError: if no layout is recognised, files do not pair, or the classes are not clear.
    """
    require_split("folder", split)
    layout = annotated.find(data_dir)
    if layout.unpaired and options.on_bad_example == "fail":
        raise UserError(
            f"{data_dir}: {_count(layout.unpaired)} no partner of the same name: {texts.some(layout.unpaired)}"
            f"{images.describe_unread(layout.unread)}; add what is missing, or leave such files out with "
            "--on_bad_example=skip."
        )
    options = resolve(data_dir, options, layout)
    rules = rules_of(options)
    names, colors = read_classes(data_dir)
    if colors and sorted(colors) == sorted(rules.colors):  # ids follow from the flags
        names = tuple(names[colors.index(color)] for color in rules.colors)
        colors = rules.colors
    if layout.annotated:
        names = annotated.named(layout.annotated, names, classes_file(data_dir)).names
    spec = DatasetSpec(
        "folder",
        _class_names(names, rules.num_classes, data_dir),
        colors if len(colors) == rules.num_classes else rules.colors or palette.distinct_colors(rules.num_classes),
        rules.ignore_label,
    )
    examples = layouts.split_examples(layout, split, options)
    if not examples:
        lacks = f"no examples in {data_dir}"
        raise MissingSplit(f"folder: {lacks} for --split={split}; found {_found(layout)}.", lacks=lacks)
    return Dataset(spec, split, examples, reader(spec, rules), rules)


def resolve(data_dir: str, options: Options, layout: layouts.Layout | None = None) -> Options:
    """Completes the flags about classes by what the masks hold, so that no mask needs to be scanned again.

    Raises:
      UserError: if the masks allow more than one reading, or contradict the flags.
    """
    if (options.mask_values or options.mask_colors) and options.num_classes and options.ignore_label != "auto":
        return options
    names, colors = read_classes(data_dir)
    layout = layout or annotated.find(data_dir)
    if layout.annotated:
        return _of_annotations(annotated.named(layout.annotated, names, classes_file(data_dir)), options, data_dir)
    declared = infer.DeclaredClasses(
        options.num_classes or len(names),
        notation.parse_values(options.mask_values) if options.mask_values else (),
        notation.parse_colors(options.mask_colors) if options.mask_colors else colors,
        options.ignore_label,
        "" if options.num_classes else classes_file(data_dir),
    )
    examples = [e for part in layout.splits.values() for e in part]
    scanned = FileScanCache(options.cache).masks(examples)
    found = {path: mask.histogram for path, mask in scanned.items() if mask.histogram is not None}
    rules = infer.infer_mask_rules(found, declared, name=data_dir)
    return dataclasses.replace(
        options,
        num_classes=rules.num_classes,
        mask_values=notation.format_values(rules.values),
        mask_colors="" if rules.values else notation.format_colors(rules.colors),
        ignore_label="none" if rules.ignore is None else str(rules.ignore),
    )


def _of_annotations(classes: layouts.AnnotatedClasses, options: Options, data_dir: str) -> Options:
    """The options completed by what annotation files say; flags may but ignore another class."""
    found = dataclasses.replace(
        options,
        num_classes=len(classes.names),
        mask_values=notation.format_values(classes.values),
        mask_colors="",
        ignore_label="none" if classes.ignore is None else str(classes.ignore),
    )
    for name in ("num_classes", "mask_values", "mask_colors"):
        given = getattr(options, name)
        if given not in (getattr(found, name), getattr(Options, name)):
            raise UserError(
                f"--{name}={given}, but the annotations in {data_dir} have {len(classes.names)} classes of their own "
                f"({', '.join(classes.names[:5])}, ...); leave it out."
            )
    return found if options.ignore_label == "auto" else dataclasses.replace(found, ignore_label=options.ignore_label)


def list_files(data_dir: str, options: Options) -> Listing:
    """The examples of each split, as `layouts.split_examples` makes them.

    Raises:
      UserError: as `annotated.find`.
    """
    layout = annotated.find(data_dir)
    splits = {split: layouts.split_examples(layout, split, options) for split in SPLITS}
    seeded = layout.seeded and not options.holdout
    return Listing({split: part for split, part in splits.items() if part}, layout.unpaired, layout.unread, seeded)


def rules_of(options: Options) -> MaskRules:
    """The rules in options that `resolve` has completed."""
    return MaskRules(
        notation.parse_values(options.mask_values) if options.mask_values else (),
        notation.parse_colors(options.mask_colors) if options.mask_colors else (),
        None if options.ignore_label == "none" else int(options.ignore_label),
    )


def read_classes(data_dir: str) -> tuple[tuple[str, ...], tuple[palette.Color, ...]]:
    """Names and colours of the classes from classes.csv (name,r,g,b) or classes.txt (a name a line).

    Semicolons or tabs may stand for the commas.

    Returns:
      The names, () if there is no such file; the colours, () if the file gives none.

    Raises:
      UserError: if a line is neither.
    """
    path = classes_file(data_dir)
    if not path:
        return (), ()
    try:
        return _parse_classes(texts.load(path), path)
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason}); expected NAME or NAME,R,G,B on each line.") from None


def classes_file(data_dir: str) -> str:
    """The path of classes.csv or classes.txt; "" if there is neither."""
    paths = (files.join(data_dir, name) for name in ("classes.csv", "classes.txt"))
    return next(filter(files.exists, paths), "")


def _parse_classes(text: str, path: str) -> tuple[tuple[str, ...], tuple[palette.Color, ...]]:
    # Spreadsheets write what their language uses: commas, semicolons or tabs.
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    lines = csv.reader(io.StringIO(text), delimiter=delimiter)
    rows = [[cell.strip() for cell in row] for row in lines if any(map(str.strip, row))]
    if (
        rows
        and rows[0][0].lower() in ("name", "class", "class_name", "names")
        and not any(c.isdecimal() for c in rows[0])
    ):
        rows = rows[1:]  # a headline
    names, colors = [], []
    for row in rows:
        if len(row) not in (1, 4) or not row[0]:
            raise UserError(f"{path}: {','.join(row)!r} is no class; expected NAME or NAME,R,G,B on each line.")
        names.append(row[0])
        if len(row) == 4:
            if not all(cell.isdecimal() and int(cell) <= 255 for cell in row[1:]):
                raise UserError(f"{path}: {','.join(row)!r} has no colour; expected NAME,R,G,B with 0 to 255.")
            colors.append((int(row[1]), int(row[2]), int(row[3])))
    if colors and len(colors) != len(names):
        raise UserError(f"{path}: {len(colors)} of {len(names)} classes have a colour; give all of them one, or none.")
    if not names:
        raise UserError(f"{path} names no class; expected NAME or NAME,R,G,B on each line, or remove it.")
    return tuple(names), tuple(colors)


def _class_names(names: tuple[str, ...], count: int, data_dir: str) -> tuple[str, ...]:
    if names and len(names) != count:
        raise UserError(
            f"{data_dir}: classes.txt or classes.csv names {len(names)} classes, but there are {count}; correct it, or "
            f"--num_classes.",
            flags=(f"--num_classes={len(names)}",),
        )
    return names or tuple(str(number) for number in range(count))


def _found(layout: layouts.Layout) -> str:
    return ", ".join(f"{len(examples)} in {name}" for name, examples in layout.splits.items())


def _count(paths: tuple[str, ...]) -> str:
    return "1 file has" if len(paths) == 1 else f"{len(paths)} files have"


ENTRY = DatasetEntry(load, classes=ClassInference(resolve, list_files))
