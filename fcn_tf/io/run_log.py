"""run.log under --logs_dir: what libraries say, kept off the console; and the tracebacks of our own faults.

Native code of TensorFlow, gRPC, XLA and codecs writes to file descriptor 2, whatever Python calls standard error.
While a command runs, that descriptor leads to run.log, straight, so that the last words of a crash are in there;
Python's standard error goes on to the console, through a duplicate of what the descriptor led to before. Until there is
a --logs_dir, a temporary file stands in. No TensorFlow.
"""

import contextlib
import faulthandler
import logging
import os
import platform
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from typing import IO

from fcn_tf import __version__
from fcn_tf.io import files, texts
from fcn_tf.io.run_dir import Run

_KEPT = 512 << 10  # bytes of run.log that stay when it is cut
_MOST = 1 << 20  # bytes of run.log beyond which it is
_SECONDS_BETWEEN_LOOKS = 10.0  # at its size
_STANDARD_ERROR = 2

_active: "RunLog | None" = None  # the descriptor is the process's, so there is one at a time


class RunLog:
    """What is kept of one command; see `kept`.

    Attributes:
      path: of run.log, once it is written to; None before, and where it cannot be.
    """

    def __init__(self, logs_dir: str, command: str, *, verbose: bool, needs_run: bool = False):
        self.path: str | None = None
        self._logs_dir, self._verbose, self._needs_run = logs_dir, verbose, needs_run
        self._first_line = f"=== {time.strftime('%Y-%m-%d %H:%M:%S %z')}, fcn_tf {__version__}, Python "
        self._first_line += f"{platform.python_version()}, process {os.getpid()}: {texts.printable(command)}\n"
        self._log: int | None = None  # descriptor of run.log
        self._console: int | None = None  # descriptor of what 2 led to before
        self._held: IO[bytes] | None = None  # stands in for run.log
        self._done = threading.Event()

    def open(self) -> None:
        """Leads what libraries say away from the console, unless it is to be shown."""
        with contextlib.suppress(OSError):  # without a temporary file, it stays as it is
            if not self._verbose:
                self._held = tempfile.TemporaryFile()
                self._console = os.dup(_STANDARD_ERROR)
                os.dup2(self._held.fileno(), _STANDARD_ERROR)
        self.attach()
        threading.Thread(target=self._look_after, name="run.log", daemon=True).start()

    def attach(self, *, make: bool = False) -> None:
        """Goes on in run.log, where there is a --logs_dir on a local disk that takes it.

        Args:
          make: whether to make --logs_dir, for a mode that is about to write there.
        """
        if self._log is not None or files.is_remote(self._logs_dir):
            return
        run = Run(self._logs_dir)
        path = run.log
        if self._needs_run and not (files.exists(run.config) or files.exists(run.model)):
            return  # an error will say so; what else lies in the folder is none of ours
        with contextlib.suppress(OSError):
            if make:
                files.makedirs(self._logs_dir)
            elif not files.is_dir(self._logs_dir):
                return
            self._log, self.path = files.open_log(path), path
            files.cut_log(self._log, _MOST, _KEPT)
            self.write(self._first_line)
            if self._held is not None:
                os.write(self._log, self._take_held())
                os.dup2(self._log, _STANDARD_ERROR)

    def write(self, text: str) -> bool:
        """Adds text to run.log; whether that was possible."""
        if self._log is None:
            return False
        try:
            data = texts.printable(text, keep="\n\t").encode()
            return os.write(self._log, data) == len(data)
        except OSError:
            return False

    def note(self, line: str) -> None:
        """Adds a line to run.log as soon as it can be; where it cannot, the line is lost."""
        if self._log is None and self._held is not None:
            with contextlib.suppress(OSError):
                os.write(self._held.fileno(), f"{texts.printable(line)}\n".encode())
        else:
            self.write(f"{line}\n")

    def tell_fault(self, error: Exception) -> str:
        """Keeps the traceback of an error that is none of the user's.

        Returns:
          What the console should say: one line, or all of it where run.log cannot take it or everything is shown.
        """
        lines = "".join(traceback.format_exception(error))
        self.attach()
        kept = self.write(lines)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        told = f"error: {reason:.300}; this is a fault of fcn_tf or of a library"
        said = self._take_held().decode(errors="replace") if self._held and not kept else ""
        if not kept:
            return f"{said}{lines}{told}: please report all of the above."
        return (
            f"{lines if self._verbose else ''}{told}: the traceback is in {self.path}, please report it with that file."
        )

    def close(self, *, ending: bool) -> None:
        """Puts everything back, but descriptor 2 where the process is ending: there are last words."""
        self.attach()
        self._done.set()
        if self._console is not None and not ending:
            os.dup2(self._console, _STANDARD_ERROR)
            os.close(self._console)
        for each in (self._held, None if self._log is None else os.fdopen(self._log)):
            if each is not None:
                each.close()
        self._held = self._log = None

    def _take_held(self) -> bytes:
        if self._held is None:
            return b""
        self._held.seek(0)
        return self._held.read()

    def _look_after(self) -> None:
        while not self._done.wait(_SECONDS_BETWEEN_LOOKS):
            log = self._log if self._held is None or self._log is not None else self._held.fileno()
            if log is not None:
                with contextlib.suppress(OSError, ValueError):
                    files.cut_log(log, _MOST, _KEPT)


class _ToStandardError(logging.Handler):
    """What Python libraries log goes where native code writes."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes it; a full disk is no reason to say more."""
        with contextlib.suppress(Exception):
            text = texts.printable(self.format(record), keep="\n\t")
            os.write(_STANDARD_ERROR, f"{text}\n".encode(errors="backslashreplace"))


@contextlib.contextmanager
def console(*, ending: bool) -> Iterator[None]:
    """Within it, Python's standard error writes to a duplicate of file descriptor 2, which may lead elsewhere then.

    Args:
      ending: whether the process ends after it: then it stays so.
    """
    stream = sys.stderr
    try:
        shared = stream.fileno() == _STANDARD_ERROR
    except (AttributeError, OSError, ValueError):  # one that a test or a notebook put in its place
        shared = False
    if not shared:
        yield
        return
    stream.flush()
    encoding, errors = stream.encoding, stream.errors
    sys.stderr = os.fdopen(os.dup(_STANDARD_ERROR), "w", buffering=1, encoding=encoding, errors=errors)
    try:
        yield
    finally:
        sys.stderr.flush()
        if not ending:
            sys.stderr.close()
            sys.stderr = stream


@contextlib.contextmanager
def kept(logs_dir: str, command: str, *, verbose: bool, ending: bool, needs_run: bool = False) -> Iterator[RunLog]:
    """Keeps what libraries write to file descriptor 2, log and warn of in run.log.

    A process has one such block at a time; one within it leaves things as they are.

    Args:
      logs_dir: of the command; it is not made.
      command: what was typed, for the first line.
      verbose: show it on the console instead; run.log then holds tracebacks alone.
      ending: whether the process ends after it.
      needs_run: whether the command can but read a run in `logs_dir`: where there is none, nothing is written there.
    """
    global _active
    log = RunLog(logs_dir, command, verbose=verbose, needs_run=needs_run)
    if _active is not None:
        yield log
        return
    handler, crashes = _ToStandardError(), not verbose and not faulthandler.is_enabled()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    log.open()
    _active = log
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(True)
    if crashes:  # the last words of native code are in run.log: where it was belongs on the console, too
        with contextlib.suppress(OSError, ValueError, AttributeError):
            faulthandler.enable(sys.stderr.fileno(), all_threads=False)
    try:
        yield log
    finally:
        if crashes and not ending:
            faulthandler.disable()
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(handler)
        _active = None
        log.close(ending=ending)


def attach(*, make: bool = False) -> bool:
    """Goes on in run.log as soon as it can be; see `RunLog.attach`. Whether this process keeps one at all."""
    if _active is None:
        return False
    _active.attach(make=make)
    return True


def note(line: str) -> None:
    """Adds a line to run.log, if this process keeps one."""
    if _active is not None:
        _active.note(line)
