"""What a field of `Config` says about its flag: help, check, and how long the setting holds. No TensorFlow."""

import dataclasses
import enum
from collections.abc import Sequence
from typing import Any, NamedTuple

from fcn_tf.config.checks import Check


class Scope(enum.Enum):
    """How long a setting holds. All but those of one command are saved in config.json."""

    COMMAND = "this command only"
    DATA = "as long as the data set: not taken over by a command that names another one"
    MODEL = "as long as the model: fixed once it is trained"
    RUN = "as long as the run: a resumed training keeps it"
    RESUMABLE = "until a resumed training changes it"


class Flag(NamedTuple):
    """What `Config`'s fields say about themselves beside name, type and default.

    Attributes:
      help: for `--help`.
      scope: how long the setting holds.
      check: the values it accepts; None for any.
      section: heading in `--help` that starts with this flag; "" to stay in the section of the flag before.
      modes: those that use it; () for all. Only of flags of one command: the others are of the data, model or run.
    """

    help: str
    scope: Scope
    check: Check | None
    section: str
    modes: tuple[str, ...]


def flag_name(field: dataclasses.Field) -> str:
    """A flag's name: the field's, less the underscore that follows a word of Python's."""
    return field.name.rstrip("_")


def flag_of(field: dataclasses.Field) -> Flag:
    """What a field of `Config` says about its flag."""
    return field.metadata["flag"]


def flag(
    default: Any,
    help_text: str,
    *,
    scope: Scope = Scope.RUN,
    check: Check | None = None,
    section: str = "",
    modes: tuple[str, ...] = (),
) -> Any:
    """A field of `Config`; the help is begun with its modes, and "{choices}" there stands for those of the check."""
    if check is not None:
        help_text = help_text.replace("{choices}", " | ".join(check.choices))
    if modes:
        help_text = f"{listed(modes)}: {help_text}"
    return dataclasses.field(default=default, metadata={"flag": Flag(help_text, scope, check, section, modes)})


def listed(names: Sequence[str], last: str = "and") -> str:
    """a, b and c."""
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), names[-1])))
