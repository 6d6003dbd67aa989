"""Another validation split than the data set's own: training examples whose file names have a prefix.

Frames of one video look alike, so a split that shares videos with training flatters. With their names' common prefix a
whole video is held out.
"""

import os

from fcn_tf.data.base import Example
from fcn_tf.errors import UserError
from fcn_tf.io import shards

_SHOWN = 5  # file names in an error message

Examples = tuple[Example, ...]


def parse(text: str) -> tuple[str, ...]:
    """The prefixes in `--holdout`; () for none."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def part(examples: Examples, prefixes: tuple[str, ...]) -> dict[str, Examples]:
    """Parts the training examples of a data set by the names of their files.

    Args:
      examples: of its train split.
      prefixes: from `parse`, at least one.

    Returns:
      {"train": those whose names start with none of the prefixes, "validation": the others}.

    Raises:
      UserError: if a prefix is that of no file, or nothing is left to train on.
    """
    names = [os.path.basename(shards.name_of(example.image)) for example in examples]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            shown = ", ".join(names[:: max(1, len(names) // _SHOWN)][:_SHOWN])
            raise UserError(
                f"--holdout={prefix} is the start of none of the {len(names)} training files, which are called such as "
                f"{shown}; give the start of some, or --holdout= for the data set's own validation split."
            )
    held = [name.startswith(prefixes) for name in names]
    if all(held):
        raise UserError(
            f"--holdout={','.join(prefixes)} holds out all {len(names)} training files; give a prefix of fewer."
        )
    return {
        "train": tuple(example for example, away in zip(examples, held, strict=True) if not away),
        "validation": tuple(example for example, away in zip(examples, held, strict=True) if away),
    }
