"""Every command-line flag, and how a typed command becomes a `Config`. The only home of absl.flags."""

import dataclasses
import os
import re
import textwrap
from collections.abc import Sequence

from absl import flags

from fcn_tf import config as configs
from fcn_tf import registry
from fcn_tf.command import other_names
from fcn_tf.config import Config
from fcn_tf.errors import UserError
from fcn_tf.io import files, texts

_MOST_FILES, _LONGEST_NAME = 100, 64
_PACKAGE = os.path.dirname(registry.__file__)
_PRESET_FOLDERS = (os.path.join(_PACKAGE, "configs"), os.path.join(os.path.dirname(_PACKAGE), "configs"))
_PRESET = re.compile(r"(?:configs/)?(\w+)(?:\.cfg)?")
_NUMBERS = {int: "a whole number", float: "a number"}
_TRUTH = "true or false"

_files_of: dict[str, str] = {}  # of the arguments of the last command line, the flag files that they stand in


class _Unreadable(Exception):
    """A value that its flag cannot be read from; no ValueError, which absl puts into words of its own."""

    def __init__(self, name: str, value: object, expected: str):
        super().__init__(f"--{name} must be {expected}, got {value!r:.80}{_where(name, str(value))}.")


class _Parser(flags.ArgumentParser):
    """absl's parser of a flag, but for what it says.

    Args:
      parser: reads numbers or truth values.
      name: of the flag.
      expected: names the values, to follow "must be".
    """

    def __init__(self, parser: flags.ArgumentParser, name: str, expected: str):
        self._parser, self._name, self._expected = parser, name, expected

    def parse(self, argument: object) -> object:
        """The value.

        Raises:
          _Unreadable: if it is none.
        """
        try:
            return self._parser.parse(argument)
        except (TypeError, ValueError, OverflowError):
            raise _Unreadable(self._name, argument, self._expected) from None

    def flag_type(self) -> str:
        """As absl's."""
        return self._parser.flag_type()


class _FlagValues(flags.FlagValues):
    """absl's, but for reading files of flags: in any coding that `texts` knows, and never from a pipe or a device."""

    def read_flags_from_files(
        self, argv: Sequence[str], force_gnu: bool = True, opened: list[str] | None = None
    ) -> list[str]:
        """The arguments, with those that stand in files, one a line, where `--flagfile` names them."""
        opened = [] if opened is None else opened
        found: list[str] = []
        rest = iter(argv)
        for argument in rest:
            if argument == "--":
                return [*found, argument, *rest]
            name = argument.partition("=")[0]
            if name.startswith("-") and len(name) > _LONGEST_NAME:  # absl would look for one that is nearly called so
                raise UserError(f"Unknown command line flag {name[:_LONGEST_NAME].lstrip('-')}...; see --help.")
            if argument == "-v":
                found.append("--verbosity=1")
                continue
            if not (named := re.fullmatch(r"--?flagfile(?:=(.*))?", argument, re.DOTALL)):
                found.append(argument)
                continue
            path = _preset_or(os.path.expanduser(next(rest, "") if named[1] is None else named[1]))
            try:
                text = texts.load(path)
            except (OSError, ValueError) as error:
                reason = f"{path}: {error.strerror}" if isinstance(error, OSError) else str(error).rstrip(".")
                message = f"--flagfile: {reason}; name a file of flags, or one of {', '.join(_presets())}."
                raise UserError(message) from None
            opened.append(path)
            if len(opened) > _MOST_FILES:
                raise UserError(f"--flagfile: more than {_MOST_FILES} files, {path} among them; does it name itself?")
            lines = (line.strip() for line in text.split("\n"))
            within = [line for line in lines if line and not line.startswith(("#", "//"))]
            _files_of.update(dict.fromkeys(within, path))
            found += self.read_flags_from_files(within, force_gnu, opened)
        return found


# A set of our own: what other packages define (--log_dir and forty more) is none of our users' business.
FLAGS = _FlagValues()

_DEFINE = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
}
_SHORT = {"verbosity": "v"}  # absl's own two names for it, in the set of flags that is not ours
_FIELDS = {configs.flag_name(field): field for field in dataclasses.fields(Config)}

for _name, _field in _FIELDS.items():
    _DEFINE[type(_field.default)](
        _name, _field.default, configs.flag_of(_field).help, short_name=_SHORT.get(_name), flag_values=FLAGS
    )
flags.DEFINE_bool("help", False, "show this help", short_name="h", flag_values=FLAGS)


def _expected(name: str) -> str:
    """What may stand after a flag that takes numbers or truth values."""
    kind = type(FLAGS[name].default)
    if kind is bool:
        return _TRUTH
    check = configs.flag_of(_FIELDS[name]).check
    expected = check.expected if check else ""
    return expected if "number" in expected else ", ".join(filter(None, (_NUMBERS[kind], expected)))


for _name in (*_FIELDS, "help"):
    if type(FLAGS[_name].default) is not str:
        FLAGS[_name].parser = _Parser(FLAGS[_name].parser, _name, _expected(_name))


def config_from_flags(argv: list[str]) -> Config | None:
    """Parses a command line.

    Args:
      argv: the program's name, then its arguments; `--flagfile=configs/NAME.cfg` reads more from a file. Those of
        `_presets` are found wherever the program is called.

    Returns:
      The settings, completed from the run's config.json, or None if help was asked for (and printed).

    Raises:
      UserError: on anything that is no flag, or a value that its flag does not take.
    """
    FLAGS.unparse_flags()
    for name in FLAGS:
        FLAGS[name].unparse()
    _files_of.clear()
    try:
        rest = FLAGS(argv)
    except UserError:
        raise
    except _Unreadable as error:
        raise UserError(str(error)) from None
    except flags.UnrecognizedFlagError as error:
        raise UserError(_unknown(error)) from None
    except (flags.Error, ValueError) as error:  # of --noNAME=VALUE a plain ValueError
        raise UserError(f"{_said(error)} See --help.") from None
    if FLAGS.help:
        mode = configs.ALIASES.get(FLAGS.mode, FLAGS.mode) if FLAGS["mode"].present else ""
        print(_help(argv[0], mode if mode in registry.MODES else ""))
        return None
    if len(rest) > 1:
        raise UserError(_stray(rest[1], argv))
    given = {field.name: FLAGS[name].value for name, field in _FIELDS.items() if FLAGS[name].present}
    for name, value in given.items():
        if isinstance(value, str) and value.startswith("~/") and name != "token":  # else a folder called ~ is made
            raise UserError(
                f"--{name}={value}{_where(name, value)}: this ~ is not replaced by your home folder; write "
                f"--{name}={os.path.expanduser(value)}."
            )
    return configs.complete(given)


def _unknown(error: flags.UnrecognizedFlagError) -> str:
    name, where = error.flagname, _where(error.flagname)
    known, _, value = name.replace("-", "_").lower().partition(" ")
    if value and where and known in FLAGS:
        return f"{name!r}{where}: a line of a flag file is --{known}=VALUE. See --help."
    if known in FLAGS:
        return f"Unknown command line flag {name!r}{where}; use --{known}. See --help."
    if meant := other_names.advice(known):
        return f"Unknown command line flag {name!r}{where}; {meant}. See --help."
    return f"{_said(error)}{where and f' It stands{where}.'} See --help."  # with absl's suggestion, if it has one


def _said(error: Exception) -> str:
    """What absl says, as a sentence on one line."""
    message = texts.reason(error).replace(" ?", "?")
    return message if message.endswith((".", "?")) else f"{message}."


def _where(name: str, value: str | None = None) -> str:
    """Which flag file a flag stands in, with this value if one is given; "" if it was typed."""
    for argument, path in _files_of.items():
        found, _, says = argument.lstrip("-").partition("=")
        if found == name and value in (None, says):
            return f" in {path}"
    return ""


def _stray(word: str, argv: list[str]) -> str:
    """What a word that is neither a flag nor its value may have been meant for."""
    where = f" in {_files_of[word]}" if word in _files_of else ""
    place = argv.index(word) if word in argv[2:] else 0
    before = argv[place - 1].lstrip("-") if place else ""
    if argv[max(place - 2, 0)].lstrip("-") == "input":
        return (
            f"{word!r} after --input {before}: --input takes one; name their folder, or a pattern in quotes, which the "
            "shell leaves as it is: --input='photos/*.jpg'. See --help."
        )
    if before in FLAGS and FLAGS[before].boolean:
        return f"{word!r} after --{before}: write --{before} (or --{before}=true) or --no{before}. See --help."
    if word.partition("=")[0] in FLAGS:
        return f"{word!r}{where} is no flag without its dashes: write --{word}. See --help."
    return f"{word!r}{where} is no flag; flags look like --mode=train. See --help."


def _help(program: str, mode: str = "") -> str:
    """Every flag, or those that one mode reads."""
    name = os.path.basename(program)
    command = f"python {name}" if name.endswith(".py") else name
    lines = [f"usage: {command} --mode={mode or 'MODE'} [--flag=value ...] [--flagfile=configs/NAME.cfg]"]
    if mode:
        lines.append(f"These are the flags that {mode} reads; {command} --help lists those of all modes.")
    else:
        lines.append(f"{command} --mode=MODE --help lists those that one mode reads.")
    shown, section = configs.flags_of(mode) if mode else list(_FIELDS.values()), ""
    for name, field in _FIELDS.items():
        flag = configs.flag_of(field)
        section = flag.section or section
        if field not in shown:
            continue
        if section:
            lines.extend(("", f"{section}:"))
            section = ""
        text = f"{flag.help} (default: {field.default!r})" if field.default != "" else flag.help
        lines.extend(textwrap.wrap(text, 100, initial_indent=f"  --{name:<14} ", subsequent_indent=" " * 19))
    return "\n".join(lines)


def _presets() -> dict[str, str]:
    """The files of flags that come along, by name: an installed package holds them, a checkout has them beside it."""
    folder = next(filter(files.is_dir, _PRESET_FOLDERS), "")
    names = sorted(files.list_dir(folder)) if folder else []
    return {name.removesuffix(".cfg"): os.path.join(folder, name) for name in names if name.endswith(".cfg")}


def _preset_or(path: str) -> str:
    """What a value of --flagfile names: a file, or the preset of that name where no file has it."""
    preset = _PRESET.fullmatch(path)
    is_file = files.exists(path) and not files.is_dir(path)  # a data set may lie in ./camvid
    return path if is_file or preset is None else _presets().get(preset[1], path)
