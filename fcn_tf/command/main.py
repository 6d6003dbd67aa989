"""The program behind `python main.py` and the command `fcn_tf`."""

import os
import re
import shlex
import signal
import sys

from fcn_tf import registry
from fcn_tf.command import flags, terminal
from fcn_tf.errors import UserError
from fcn_tf.io import files, run_log, texts

_SECRET = re.compile(r"(?<=\s)(--?token(?:=|\s+))('[^']*'|\S+)+")


def main(argv: list[str] | None = None) -> int:
    """Runs the mode that a command line asks for.

    Args:
      argv: the program's name, then its arguments; None for those of this process.

    Returns:
      The exit status.
    """
    argv = sys.argv if argv is None else argv
    ending = argv is sys.argv  # a process of its own, which ends with the command
    with run_log.console(ending=ending), terminal.escaped():
        return _run(argv, ending=ending)


def _run(argv: list[str], *, ending: bool) -> int:
    try:
        config = flags.config_from_flags(argv)
        if config is None:
            sys.stdout.flush()
            return 0
        verbose, command = config.verbosity > 0, _without_secrets(argv)
        with run_log.kept(config.logs_dir, command, verbose=verbose, ending=ending, needs_run=config.needs_run) as log:
            try:
                # Only now: a typing mistake should not wait for imports.
                return registry.resolve(registry.MODES[config.mode])(config)
            except Exception as error:
                if _is_mistake(error):
                    raise
                print(log.tell_fault(error), file=sys.stderr)
                return 1
    except UserError as error:
        print(f"error: {texts.printable(str(error))}", file=sys.stderr)
        return error.status
    except BrokenPipeError:  # whoever reads standard output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if (reason := files.refusal(error)) is None:
            raise  # a fault of ours
        where = "" if error.filename is None else texts.printable(f"{error.filename}: ")
        print(
            f"error: {where}{reason}; give files and folders that can be read and written (--logs_dir, "
            "--data_dir, --output_dir), or make room.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _without_secrets(argv: list[str]) -> str:
    """A command line, as it is to be typed, but for --token."""
    return _SECRET.sub(r"\1...", shlex.join(argv))


def _is_mistake(error: Exception) -> bool:
    """Whether it is for the user to mend: all else is a fault of ours."""
    if isinstance(error, UserError | BrokenPipeError):
        return True
    return isinstance(error, OSError) and files.refusal(error) is not None
